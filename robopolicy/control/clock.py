"""When the result of an inference arrives.

In simulation time stands still while a network computes. `SimClock` gives that time back: what is submitted
at tick t can be collected at tick t + k, always, so that latency is a parameter of a test and not an accident
of the machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SimClock(Generic[T]):
    """Delivers results a fixed number of control ticks late.

        clock = SimClock(latency_ticks=2)
        clock.submit(infer)  # at tick 0
        clock.collect()      # [], and again at tick 1
        clock.advance()
        clock.advance()
        clock.collect()      # [what infer returned]

    Args:
        latency_ticks: 0 delivers within the tick of the request.
    """

    def __init__(self, *, latency_ticks: int = 0) -> None:
        if latency_ticks < 0:
            raise ValueError(f"latency_ticks must be 0 or more, got {latency_ticks}")
        self.latency_ticks = latency_ticks
        self.tick = 0
        self._due: deque[tuple[int, T]] = deque()

    def submit(self, work: Callable[[], T]) -> None:
        """Run `work`; its result arrives `latency_ticks` from now."""
        self._due.append((self.tick + self.latency_ticks, work()))

    def collect(self) -> list[T]:
        """What has arrived by this tick, in the order of submission; each result is handed out once."""
        arrived = []
        while self._due and self._due[0][0] <= self.tick:
            arrived.append(self._due.popleft()[1])
        return arrived

    def advance(self) -> None:
        """A control tick passes."""
        self.tick += 1
