"""robopolicy: train, steer and deploy robot policies. A steered policy is a policy."""

__version__ = "0.1.0"
