"""When each message of one publisher is due."""

from collections.abc import Sequence


class Timetable:
    """When each message of one publisher is due. Moments in ns; open loop: it never waits for anything."""

    def __init__(self, phases: Sequence[tuple[float, float]], share: int, start: int) -> None:
        """``share``: one of so many publishers that divide the rate."""
        self._phases: list[tuple[int, int, int, float]] = []  # first moment, end, first number, ns between two
        number = 0
        for seconds, rate in phases:
            end = start + round(seconds * 1e9)
            step = share * 1e9 / rate if rate else 0.0
            self._phases.append((start, end, number, step))
            number += int((end - start) / step) if step else 0
            start = end
        self.count = number
        self.end = start

    def due(self, sent: int, moment: int) -> tuple[int, int, float]:
        """Return how many messages after ``sent`` are due at a moment, the first one's time and the ns between two.

        Only those of one phase: ask again for the rest.
        """
        for begin, end, first, step in self._phases:
            count = int((end - begin) / step) if step else 0
            if step and first <= sent < first + count:
                passed = min(first + count, first + int(max(0, min(moment, end) - begin) / step) + 1) - sent
                return max(0, passed if moment >= begin else 0), begin + round((sent - first) * step), step
        return 0, 0, 0.0

    def next_moment(self, sent: int) -> int | None:
        """Return when message ``sent`` is or was due; None when there is no such message or no rate."""
        for begin, end, first, step in self._phases:
            count = int((end - begin) / step) if step else 0
            if step and first <= sent < first + count:
                return begin + round((sent - first) * step)
        return None
