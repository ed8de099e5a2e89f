"""Waiting that a stall of the machine does not shorten: time counts only as far as this process was running."""

import time
from collections.abc import Callable

LONGEST = 0.25  # seconds that may pass between two looks; more is a stall, in which the other side had no turn either


class Awake:
    """Seconds since ``begin`` in which this process was running. Look often: between two looks count LONGEST at most.

    For silences from which something follows ("nothing came for 3 s: it is lost"). After a stall of the whole machine
    the clock says that the time is over, before anybody could have sent, or taken, what was under way.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self._seconds, self._last = 0.0, self._clock()

    def seconds(self) -> float:
        """Look: return the seconds so far."""
        now = self._clock()
        self._seconds += min(now - self._last, LONGEST)
        self._last = now
        return self._seconds
