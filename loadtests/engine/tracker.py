"""The ledger's fast lane: arrivals booked by array, and what is out of the ordinary handed to the ledger itself.

For each publisher everything below ``low`` has been settled; above it a window of marks says what has come. Whatever
lies outside the window is settled by the ledger, one by one: exact, but slow, and rare.
"""

from typing import Any

import numpy as np
from mqproof.harness.histograms import HIGHEST_US, Latencies
from mqproof.harness.ledger import Ledger
from mqproof.loadtests.engine.kernels import INTACT, REPEAT, STRANGE
from numba import njit

MOST_MARKS = 1 << 24  # octets for all publishers together
SUB_BITS = 11  # three significant digits, as in the HDR histogram
LAST_BUCKET = HIGHEST_US
DUPLICATES, LATE, BY, NEW, FLAGGED, CHECKED_OUT = range(6)  # counters


@njit(cache=True, inline="always")
def bucket(value: int) -> int:
    """Return the index of a latency in microseconds: exact up to 2047, then 1024 steps for each power of two."""
    shift = 0
    while value >> shift >= 1 << SUB_BITS:
        shift += 1
    return (shift << SUB_BITS - 1) + (value >> shift)


def value_of(index: int) -> int:
    """Return the highest latency of a bucket."""
    half = 1 << SUB_BITS - 1
    if index < 2 * half:
        return index
    shift = index // half - 1
    return ((index - shift * half + 1) << shift) - 1


@njit(cache=True)
def book(
    messages: Any, start: int, count: int, now: int, path: int, low: Any, marks: Any, highest: Any, counts: Any,
    histogram: Any,
) -> int:
    """Book arrivals from ``start`` on; return ``count``, or the index of one that needs the ledger."""
    window = marks.shape[1]
    for index in range(start, count):
        publisher, number, intended, flags = messages[index]
        if flags & STRANGE or publisher >= len(low) or number < low[publisher] or number >= low[publisher] + window:
            return index
        counts[FLAGGED] += 1 if flags & REPEAT else 0
        if marks[publisher, number % window]:
            counts[DUPLICATES] += 1
            highest[path, publisher] = max(highest[path, publisher], number)
            continue
        if number == low[publisher]:
            number += 1
            while marks[publisher, number % window]:
                marks[publisher, number % window] = 0
                number += 1
            low[publisher] = number
            number = messages[index, 1]
        else:
            marks[publisher, number % window] = 1
        if number > highest[path, publisher]:
            highest[path, publisher] = number
        elif not flags & REPEAT:
            counts[LATE] += 1
            counts[BY] = max(counts[BY], highest[path, publisher] - number)
        counts[NEW] += 1
        latency = (now - intended) // 1000
        histogram[bucket(min(max(latency, 1), LAST_BUCKET))] += 1
    return count


class Tracker:
    """The arrivals on one route. ``publishers``: numbers from 0 to below it are known; ``paths``: consumers."""

    def __init__(self, ledger: Ledger, route: str, publishers: int, paths: int) -> None:
        window = 1 << 8
        while window < 1 << 20 and 2 * window * publishers <= MOST_MARKS:
            window *= 2
        self.ledger, self.route = ledger, route
        self._low = np.zeros(publishers, np.int64)
        self._settled = np.zeros(publishers, np.int64)
        self._marks = np.zeros((publishers, window), np.uint8)
        self._highest = np.full((max(paths, 1), publishers), -1, np.int64)
        self._counts = np.zeros(CHECKED_OUT + 1, np.int64)
        self._histogram = np.zeros(bucket(LAST_BUCKET) + 1, np.int64)

    def arrive(self, messages: Any, count: int, now: int, path: int) -> int:
        """Book ``count`` rows of publisher, number, intended time and flags; return how many were new."""
        before = int(self._counts[NEW])
        at = 0
        while at < count:
            at = book(
                messages, at, count, now, path, self._low, self._marks, self._highest, self._counts, self._histogram
            )
            if at < count and not self._is_ahead(messages[at]):
                self._settle_one(messages[at], now, path)
                at += 1
        return int(self._counts[NEW]) - before

    def _settle_one(self, row: Any, now: int, path: int) -> None:
        publisher, number, intended, flags = map(int, row)
        if flags & STRANGE:
            self.ledger.note_strange(corrupted=1)
            return
        if publisher >= len(self._low):
            self.ledger.deliver(publisher, number, route=self.route, intact=bool(flags & INTACT))
            return
        self._flush(publisher)
        arrived_before = int(self._highest[path, publisher])
        redelivered = bool(flags & REPEAT)
        is_new = self.ledger.deliver(publisher, number, route=self.route, path="", redelivered=True)
        self.ledger.redelivered -= not redelivered
        self._highest[path, publisher] = max(arrived_before, number)
        if is_new:
            self._counts[NEW] += 1
            self._histogram[bucket(min(max((now - intended) // 1000, 1), LAST_BUCKET))] += 1
            if number < arrived_before and not redelivered:
                self.ledger.note_order(1, arrived_before - number)

    def _is_ahead(self, row: Any) -> bool:
        """Move the window where a message lies beyond it, so that it can be booked; return whether that was so."""
        publisher, number, flags = int(row[0]), int(row[1]), int(row[3])
        if flags & STRANGE or publisher >= len(self._low) or number < self._low[publisher]:
            return False
        self._move(publisher, number - self._marks.shape[1] // 2)
        return True

    def _move(self, publisher: int, target: int) -> None:
        """Let the window begin at ``target`` or later; what was marked before it goes to the ledger."""
        window = self._marks.shape[1]
        low, marks = int(self._low[publisher]), self._marks[publisher]
        self._flush(publisher)
        places = np.arange(low, min(target, low + window)) % window
        for start, stop in _runs(np.flatnonzero(marks[places]) + low):
            self.ledger.deliver_range(publisher, start, stop, route=self.route)
        marks[places] = 0
        self._settled[publisher] = target
        while marks[target % window]:
            marks[target % window] = 0
            target += 1
        self._low[publisher] = target

    def _flush(self, publisher: int) -> None:
        """Let the ledger know what lies below the window."""
        start, stop = int(self._settled[publisher]), int(self._low[publisher])
        if stop > start:
            self.ledger.deliver_range(publisher, start, stop, route=self.route)
            self._settled[publisher] = stop

    def highest(self) -> Any:
        """Return for each publisher the highest number that has arrived, -1 for none."""
        return self._highest.max(axis=0)

    @property
    def histogram(self) -> Any:
        """The counts of latencies by :func:`bucket`, as they are now."""
        return self._histogram

    @property
    def duplicates(self) -> int:
        """How many repeats the fast lane has seen."""
        return int(self._counts[DUPLICATES])

    @property
    def new(self) -> int:
        """How many different messages have arrived."""
        return int(self._counts[NEW])

    def close(self, latencies: Latencies) -> None:
        """Put everything into the ledger and the histogram; nothing may arrive afterwards."""
        for publisher in range(len(self._low)):
            if self._marks[publisher].any():
                self._move(publisher, int(self._low[publisher]) + self._marks.shape[1])
            else:
                self._flush(publisher)
        counts = self._counts
        if counts[DUPLICATES]:
            self.ledger.note_repeats(int(counts[DUPLICATES]))
        self.ledger.note_order(int(counts[LATE]), int(counts[BY]))
        self.ledger.note_strange(redelivered=int(counts[FLAGGED]))
        held = np.flatnonzero(self._histogram)
        latencies.record_all((value_of(int(index)), int(self._histogram[index])) for index in held)


def _runs(numbers: Any) -> list[tuple[int, int]]:
    """Return ascending numbers as half-open ranges."""
    if not len(numbers):
        return []
    breaks = np.flatnonzero(np.diff(numbers) != 1)
    starts = np.concatenate((numbers[:1], numbers[breaks + 1]))
    stops = np.concatenate((numbers[breaks], numbers[-1:])) + 1
    return [(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]
