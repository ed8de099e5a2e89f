"""Who does a stage's work: this process, or workers elsewhere (see ``distributed.py``)."""

from typing import Any, Protocol

from mqproof.harness.targets.target import Target
from mqproof.loadtests.book import Book
from mqproof.loadtests.engine.group import StageGroup
from mqproof.loadtests.engine.names import Names
from mqproof.loadtests.engine.stage import Report, Totals
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.timeline import Timeline
from mqproof.loadtests.tracing import Trace


class Crew(Protocol):
    """Carries out one stage after the other."""

    lost: list[str]  # workers of ours that died, in words

    def open(self, number: int, traffic: Traffic, first: int, names: Names) -> None:
        """Subscribe and connect; return when all are ready. Raises Broken."""

    def start(self) -> None:
        """Start to publish."""

    def totals(self) -> Totals:
        """Return where the stage stands."""

    def end(self) -> None:
        """Let nobody publish any more."""

    def close(self, is_under_way: bool) -> tuple[Book, Timeline]:
        """Disconnect; return what was written down."""

    def about(self) -> dict[str, Any]:
        """Return what is to be known of the workers."""


class LocalCrew:
    """A crew of one: the process that asks does the work."""

    def __init__(self, target: Target, report: Report, trace: Trace | None = None) -> None:
        self.target, self.report, self.trace = target, report, trace
        self.lost: list[str] = []
        self.stage: StageGroup | None = None

    def open(self, number: int, traffic: Traffic, first: int, names: Names) -> None:
        """Subscribe and connect."""
        self.stage = StageGroup(self.target, traffic, names, first, trace=self.trace, report=self.report)
        self.stage.open()

    @property
    def _now(self) -> StageGroup:
        assert self.stage is not None, "open comes first"
        return self.stage

    def start(self) -> None:
        """Start to publish."""
        self._now.start()

    def totals(self) -> Totals:
        """Return where the stage stands."""
        return self._now.totals()

    def end(self) -> None:
        """Let nobody publish any more."""
        self._now.end()

    def close(self, is_under_way: bool) -> tuple[Book, Timeline]:
        """Disconnect; return what was written down."""
        self._now.close(is_under_way)
        return self._now.written()

    def about(self) -> dict[str, Any]:
        """Return nothing: there are no workers elsewhere."""
        return {}
