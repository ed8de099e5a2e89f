"""Runs the stages of a scenario one after the other, and makes one result of them."""

import time
from collections.abc import Callable
from typing import Any

from gevent.event import Event
from mqproof.harness.probing.limits import ProbeNames
from mqproof.harness.targets.target import Target
from mqproof.loadtests.book import Book
from mqproof.loadtests.engine import kernels
from mqproof.loadtests.engine.flow import Report
from mqproof.loadtests.engine.stage import Stage
from mqproof.loadtests.engine.traffic import Traffic

Show = Callable[[str], None]


class Engine:
    """The books of all stages, and the one that runs now."""

    def __init__(self, target: Target, stages: list[Traffic], prefix: str, report: Report) -> None:
        self.target, self.stages, self.names, self.report = target, stages, ProbeNames(prefix), report
        self.results: list[dict[str, Any]] = []
        self.total = Book()
        self.stage: Stage | None = None
        self._started = time.monotonic()

    def run(self, interrupted: Event) -> None:
        """Run stage after stage, until ``interrupted``."""
        kernels.warm()
        for traffic in self.stages:
            if interrupted.is_set():
                return
            book = Book()
            book.skip(self.total)
            self.stage = Stage(self.target, traffic, book, self.names, self.report)
            self.stage.run(interrupted)
            self.results.append({"stage": traffic.label, **book.result(), "timeline": _timeline(self.stage)})
            self.total.merge(book)

    def progress(self) -> str:
        """Return one line about what happens now."""
        stage = self.stage
        if stage is None:
            return "starting"
        return f"{stage.traffic.label}: {stage.published:,} published, {stage.received:,} arrived"

    def result(self, interrupted: bool) -> dict[str, Any]:
        """Return everything as JSON shows it; rates of several stages are those of the fastest."""
        result = self.total.result()
        for name in ("publish_rate_msg_s", "delivery_rate_msg_s"):
            rates = [each["metrics"][name] for each in self.results if each["metrics"][name] is not None]
            result["metrics"][name] = max(rates, default=None)
        shown = [{key: value for key, value in each.items() if key != "histograms"} for each in self.results]
        return {**result, "stages": shown, "interrupted": interrupted,
                "duration_s": round(time.monotonic() - self._started, 3)}  # fmt: skip


def _timeline(stage: Stage) -> list[dict[str, int]]:
    last = max((second for counts in stage.seconds.values() for second in counts), default=-1)
    seconds = range(last + 1)
    return [{"s": second, **{name: counts[second] for name, counts in stage.seconds.items()}} for second in seconds]
