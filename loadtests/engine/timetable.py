"""When each message of one publisher is due."""

import math
from collections.abc import Sequence

TOLERANCE = 1e-6  # of a message, by which a sum of floating-point rates may be off


class Timetable:
    """When each message of one publisher is due. Moments in ns; open loop: it never waits for anything.

    Publishers take turns: message n of all together is due when the rate adds up to n, and is publisher n mod
    ``share``'s. So no two are due at the same moment, and one whose turn comes late does not go without.
    """

    def __init__(self, phases: Sequence[tuple[float, float]], share: int, start: int, index: int = 0) -> None:
        """``share``: publisher ``index`` of so many that divide the rate; ``phases``: seconds and rate of all."""
        # The publisher's first moment in it, its end, the first number and that of the next phase, ns between two
        self._phases: list[tuple[int, int, int, int, float]] = []
        number, due = 0, 0.0
        for seconds, rate in phases:
            end = start + round(seconds * 1e9)
            turns = _turns(due + seconds * rate, share, index) - number
            if turns:
                first = start + round((index + number * share - due) / rate * 1e9)
                self._phases.append((max(start, first), end, number, number + turns, share * 1e9 / rate))
            number += turns
            due += seconds * rate
            start = end
        self.count = number
        self.end = start

    def due(self, sent: int, moment: int) -> tuple[int, int, float]:
        """Return how many messages after ``sent`` are due at a moment, the first one's time and the ns between two.

        Only those of one phase: ask again for the rest.
        """
        for begin, end, first, last, step in self._phases:
            if first <= sent < last:
                passed = int((min(moment, end) - begin) / step) + 1 if moment >= begin else 0
                return max(0, min(first + passed, last) - sent), begin + round((sent - first) * step), step
        return 0, 0, 0.0

    def next_moment(self, sent: int) -> int | None:
        """Return when message ``sent`` is or was due; None when there is no such message or no rate."""
        for begin, _, first, last, step in self._phases:
            if first <= sent < last:
                return begin + round((sent - first) * step)
        return None


def _turns(due: float, share: int, index: int) -> int:
    """Return how many of all messages below a number are one publisher's."""
    return max(0, math.ceil((math.ceil(due - TOLERANCE) - index) / share))
