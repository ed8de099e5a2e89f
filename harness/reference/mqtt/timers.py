"""Deadlines without a clock of their own: whoever drives the broker says what time it is."""

import heapq
from collections.abc import Callable
from itertools import count

TIDY_FROM = 256  # timers, cancelled ones included


class Timer:
    """One deadline; ``cancel`` makes it never fire."""

    __slots__ = ("action", "due")

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Forget the action; a timer that fired already is not harmed."""
        self.action = None


class Timers:
    """A heap of deadlines in seconds of the driver's clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = count()
        self._tidy_at = TIDY_FROM

    def at(self, due: float, action: Callable[[], None]) -> Timer:
        """Call ``action`` in the first ``run`` whose time has reached ``due``."""
        if len(self._heap) >= self._tidy_at:
            self._tidy()
        timer = Timer(due, action)
        heapq.heappush(self._heap, (due, next(self._serial), timer))
        return timer

    def __len__(self) -> int:
        return len(self._heap)

    def _tidy(self) -> None:
        """Drop what was cancelled: clients that come and go would leave it for as long as their sessions last."""
        self._heap = [entry for entry in self._heap if entry[2].action is not None]
        heapq.heapify(self._heap)
        self._tidy_at = max(TIDY_FROM, 2 * len(self._heap))

    def next_due(self) -> float | None:
        """When ``run`` has something to do next; None for never."""
        while self._heap and self._heap[0][2].action is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Fire everything that is due."""
        while (due := self.next_due()) is not None and due <= now:
            timer = heapq.heappop(self._heap)[2]
            action, timer.action = timer.action, None
            if action:
                action()
