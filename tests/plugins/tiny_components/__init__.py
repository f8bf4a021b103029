"""A plug-in as a third party would install it: components found by entry point, outside the library."""
