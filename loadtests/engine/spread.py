"""How far apart the copies of one message arrive: from the first subscriber to the last."""

from typing import Any

import numpy as np
from mqproof.harness.histograms import HIGHEST_US, Latencies
from mqproof.loadtests.engine.kernels import REPEAT, STRANGE
from mqproof.loadtests.engine.tracker import bucket, value_of
from numba import njit

WINDOW = 1 << 16  # messages that may be under way; of those that come later than that nothing is known


@njit(cache=True)
def note(messages: Any, now: int, routes: int, who: Any, first: Any, count: Any, histogram: Any) -> None:
    """Count the copies of each message; where all are there, book the time since the first."""
    for index in range(len(messages)):
        if messages[index, 3] & (STRANGE | REPEAT):
            continue
        number = messages[index, 1]
        at = number % len(who)
        if who[at] != number:
            who[at], first[at], count[at] = number, now, 0
        count[at] += 1
        if count[at] == routes:
            histogram[bucket(min(max((now - first[at]) // 1000, 1), HIGHEST_US))] += 1


class Spread:
    """Of one publisher's messages to ``routes`` subscribers."""

    def __init__(self, routes: int) -> None:
        self._routes = routes
        self._who = np.full(WINDOW, -1, np.int64)
        self._first = np.zeros(WINDOW, np.int64)
        self._count = np.zeros(WINDOW, np.int64)
        self._histogram = np.zeros(bucket(HIGHEST_US) + 1, np.int64)

    def arrived(self, messages: Any, now: int) -> None:
        """Note arrivals at a moment in ns."""
        note(messages, now, self._routes, self._who, self._first, self._count, self._histogram)

    def latencies(self) -> Latencies:
        """Return the times between the first and the last copy."""
        found = Latencies()
        held = np.flatnonzero(self._histogram)
        found.record_all((value_of(int(index)), int(self._histogram[index])) for index in held)
        return found
