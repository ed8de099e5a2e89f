"""Latencies in an HDR histogram: microseconds, three significant digits, up to an hour, mergeable across workers."""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any, Self

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

LOWEST_US, HIGHEST_US, DIGITS = 1, 3_600_000_000, 3
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "max": 100.0}


class Latencies:
    """A distribution of latencies in microseconds; what is shorter than one or longer than an hour counts as that."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
        self.negative = 0  # clocks that disagree, or a timestamp that was changed

    def record(self, microseconds: float, count: int = 1) -> None:
        """Add ``count`` samples of one latency."""
        if microseconds < 0:
            self.negative += count
        value = min(max(int(microseconds), LOWEST_US), HIGHEST_US)
        self._histogram.record_value(value, count)

    def record_all(self, pairs: Iterable[tuple[float, int]]) -> None:
        """Add pairs of latency and count."""
        for microseconds, count in pairs:
            self.record(microseconds, count)

    def merge(self, other: "Latencies") -> None:
        """Add another worker's samples; nothing is lost by it."""
        if other.count:
            self._histogram.add(other._histogram)
        self.negative += other.negative

    @property
    def count(self) -> int:
        """How many samples there are."""
        return int(self._histogram.get_total_count())

    def at(self, percentile: float) -> int | None:
        """Return the latency in microseconds that so many percent do not exceed; None without samples."""
        return _at(self.distribution(), self.count, percentile)

    def summary(self) -> dict[str, int | None]:
        """Return p50, p90, p99, p999 and max in microseconds, each None without samples."""
        distribution, count = self.distribution(), self.count
        return {name: _at(distribution, count, percentile) for name, percentile in PERCENTILES.items()}

    def distribution(self) -> list[tuple[int, int]]:
        """Return pairs of latency (microseconds) and count, only where there are samples."""
        recorded = self._histogram.get_recorded_iterator()
        return [(int(item.value_iterated_to), int(item.count_at_value_iterated_to)) for item in recorded]

    def plain(self) -> dict[str, Any]:
        """Return the histogram as data for JSON, in the format that HDR histograms are exchanged in."""
        return {"unit": "us", "negative": self.negative, "hdr": self._histogram.encode().decode() if self.count else ""}

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        """Return the histogram that ``plain`` described."""
        latencies = cls()
        latencies.negative = data["negative"]
        if data["hdr"]:
            latencies._histogram.decode_and_add(data["hdr"])
        return latencies


def _at(distribution: Sequence[tuple[int, int]], total: int, percentile: float) -> int | None:
    """Return the nearest rank, rounded up: never less than what so many percent really saw."""
    wanted = max(1, ceil(round(percentile * total / 100, 6)))
    for latency, count in distribution:
        wanted -= count
        if wanted <= 0:
            return latency
    return None
