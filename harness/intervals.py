"""A set of whole numbers as ranges: as large as its gaps are many, however many numbers it holds."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Self


class Intervals:
    """Sorted, disjoint, half-open ranges. Adding at the end, as a sequence without gaps does, costs nothing."""

    __slots__ = ("_count", "_starts", "_stops")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._count = 0
        for start, stop in ranges:
            self.add(start, stop)

    def add(self, start: int, stop: int | None = None) -> int:
        """Add ``start`` to ``stop`` (exclusive; ``start`` alone when None); return how many of them were new."""
        stop = start + 1 if stop is None else stop
        if stop <= start:
            return 0
        stops = self._stops
        if not stops or start > stops[-1]:
            self._starts.append(start)
            stops.append(stop)
            new = stop - start
        elif start == stops[-1]:
            stops[-1] = stop
            new = stop - start
        else:
            new = self._insert(start, stop)
        self._count += new
        return new

    def _insert(self, start: int, stop: int) -> int:
        starts, stops = self._starts, self._stops
        first, last = bisect_left(stops, start), bisect_right(starts, stop)  # those between touch the new range
        touched = range(first, last)
        known = sum(min(stops[index], stop) - max(starts[index], start) for index in touched)
        joined = (min(start, starts[first]), max(stop, stops[last - 1])) if first < last else (start, stop)
        starts[first:last], stops[first:last] = [joined[0]], [joined[1]]
        return stop - start - known

    def update(self, other: "Intervals") -> int:
        """Add all numbers of ``other``; return how many were new."""
        return sum(self.add(start, stop) for start, stop in other)

    def minus(self, other: "Intervals") -> "Intervals":
        """Return the numbers that ``other`` lacks."""
        result = Intervals()
        for start, stop in self:
            for low, high in other.within(start, stop):
                result.add(start, low)
                start = high
            result.add(start, stop)
        return result

    def both(self, other: "Intervals") -> "Intervals":
        """Return the numbers that are in this and in ``other``."""
        return Intervals(part for start, stop in self for part in other.within(start, stop))

    def within(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of the ranges that lie between ``start`` and ``stop``."""
        index = bisect_right(self._stops, start)
        while index < len(self._starts) and self._starts[index] < stop:
            yield max(start, self._starts[index]), min(stop, self._stops[index])
            index += 1

    @property
    def gaps(self) -> int:
        """How many ranges there are beyond the first: what the memory depends on."""
        return max(0, len(self._starts) - 1)

    def plain(self) -> list[list[int]]:
        """Return the ranges as data for JSON."""
        return [[start, stop] for start, stop in self]

    @classmethod
    def of(cls, *numbers: int) -> Self:
        """Return the set of these numbers."""
        return cls((number, number + 1) for number in numbers)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number < self._stops[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._stops, strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervals) and list(self) == list(other)

    def __hash__(self) -> int:
        raise TypeError("a set that grows has no hash")

    def __repr__(self) -> str:
        return f"Intervals({list(self)})"
