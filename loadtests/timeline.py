"""What happened in each moment of a stage: messages, latencies, how long confirms took. Workers' moments add up."""

from collections import Counter
from typing import Any, Self

import numpy as np
from mqproof.loadtests.engine.tracker import value_of

SHORT, FINE, COARSE = 10.0, 0.2, 1.0  # a stage that lasts less than this has moments of 0.2 s, others of 1 s
MOST = 3600  # moments; where there would be more, two become one
COUNTS = ("published", "delivered", "blocked")


class Timeline:
    """Counts by moment. ``step``: seconds of one moment."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.counts: dict[str, Counter[int]] = {name: Counter() for name in COUNTS}
        self.latencies: dict[int, Counter[int]] = {}  # moment -> bucket of the tracker's histogram -> count
        self.slowest: dict[int, float] = {}  # moment -> longest time until a confirm, seconds

    @classmethod
    def of(cls, lasts: float) -> Self:
        """Return a timeline for a stage that lasts so many seconds."""
        return cls(FINE if lasts < SHORT else COARSE)

    def count(self, name: str, passed: float, count: int) -> None:
        """Count something that happened so many seconds after the start."""
        moment = self._moment(passed)  # which may make others of the counts
        self.counts[name][moment] += count

    def confirmed(self, passed: float, seconds: float) -> None:
        """Note how long a confirm took."""
        moment = self._moment(passed)
        self.slowest[moment] = max(self.slowest.get(moment, 0.0), seconds)

    def sampled(self, passed: float, buckets: Any) -> None:
        """Add the latencies since the last sample: an array of counts by bucket."""
        moment = self._moment(passed)
        held = self.latencies.setdefault(moment, Counter())
        for index in np.flatnonzero(buckets):
            held[int(index)] += int(buckets[index])

    def _moment(self, passed: float) -> int:
        while int(passed / self.step) >= MOST:
            self._fold()
        return int(passed / self.step)

    def _fold(self) -> None:
        """Make one of each two moments: a run of days takes no more memory than one of an hour."""
        folded = type(self)(self.step * 2)
        for name, counts in self.counts.items():
            for moment, count in counts.items():
                folded.counts[name][moment // 2] += count
        for moment, buckets in self.latencies.items():
            folded.latencies.setdefault(moment // 2, Counter()).update(buckets)
        for moment, seconds in self.slowest.items():
            folded.slowest[moment // 2] = max(seconds, folded.slowest.get(moment // 2, 0.0))
        self.step, self.counts = folded.step, folded.counts
        self.latencies, self.slowest = folded.latencies, folded.slowest

    def merge(self, other: "Timeline") -> None:
        """Add another worker's; the shorter moments of one of them become as long as the other's."""
        while self.step < other.step:
            self._fold()
        while other.step < self.step:
            other._fold()
        for name, counts in other.counts.items():
            self.counts[name].update(counts)
        for moment, buckets in other.latencies.items():
            self.latencies.setdefault(moment, Counter()).update(buckets)
        for moment, seconds in other.slowest.items():
            self.slowest[moment] = max(seconds, self.slowest.get(moment, 0.0))

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each moment: its start ``s`` in seconds, counts, and latencies in microseconds."""
        moments = [moment for counts in self.counts.values() for moment in counts] + list(self.latencies)
        return [self._row(moment) for moment in range(max(moments, default=-1) + 1)]

    def _row(self, moment: int) -> dict[str, Any]:
        row: dict[str, Any] = {"s": round(moment * self.step, 3), "seconds": self.step}
        row |= {name: counts[moment] for name, counts in self.counts.items()}
        buckets = self.latencies.get(moment, Counter())
        row |= {f"{name}_us": _percentile(buckets, share) for name, share in (("p50", 0.5), ("p99", 0.99))}
        slowest = self.slowest.get(moment)
        return {**row, "confirm_max_us": round(slowest * 1e6) if slowest is not None else None}

    def plain(self) -> dict[str, Any]:
        """Return it as data that a worker sends."""
        return {
            "step": self.step,
            "counts": {name: list(counts.items()) for name, counts in self.counts.items()},
            "latencies": [[moment, list(buckets.items())] for moment, buckets in self.latencies.items()],
            "slowest": list(self.slowest.items()),
        }

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        """Return the timeline that ``plain`` described."""
        timeline = cls(data["step"])
        timeline.counts = {name: Counter(dict(map(tuple, counts))) for name, counts in data["counts"].items()}
        timeline.latencies = {moment: Counter(dict(map(tuple, held))) for moment, held in data["latencies"]}
        timeline.slowest = dict(map(tuple, data["slowest"]))
        return timeline


def _percentile(buckets: "Counter[int]", share: float) -> int | None:
    wanted = max(1, round(share * buckets.total() + 0.499)) if buckets else 0
    for bucket in sorted(buckets):
        wanted -= buckets[bucket]
        if wanted <= 0:
            return value_of(bucket)
    return None
