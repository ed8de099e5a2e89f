"""Several kinds of traffic at the same time, as one stage: a workload of several flows."""

from collections.abc import Iterator, Sequence
from typing import Any

from gevent.pool import Group
from mqproof.harness.targets.target import Target
from mqproof.loadtests.book import Book
from mqproof.loadtests.engine.names import Names
from mqproof.loadtests.engine.part import WHOLE, Part
from mqproof.loadtests.engine.plumbing import Plumbing, Thing, plumbing
from mqproof.loadtests.engine.stage import Stage, Totals
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.timeline import Timeline

BESIDE = 256  # stages' names: this many kinds of traffic may run side by side


def kinds_of(traffic: Traffic, first: int, names: Names) -> Iterator[tuple[Traffic, int, Names]]:
    """Yield each kind of traffic with its first publisher and its names."""
    for index, each in enumerate((traffic, *traffic.beside)):
        yield each, first, names.of_stage(names.stage * BESIDE + index)
        first += each.publishers


def publishers_of(traffic: Traffic) -> int:
    """Return how many publishers all kinds have together."""
    return sum(each.publishers for each in (traffic, *traffic.beside))


def connections_of(traffic: Traffic) -> int:
    """Return how many connections all kinds have together."""
    return sum(each.publishers + each.routes * each.consumers for each in (traffic, *traffic.beside))


class Pipes:
    """The plumbing of all kinds."""

    def __init__(self, target: Target, traffic: Traffic, first: int, names: Names) -> None:
        self.all: Sequence[Plumbing] = [plumbing(target, each, own) for each, _, own in kinds_of(traffic, first, names)]

    def things(self) -> list[Thing]:
        """Return everything that ``make`` makes."""
        return [thing for pipes in self.all for thing in pipes.things()]

    def make(self) -> None:
        """Declare everything. Raises Broken."""
        for pipes in self.all:
            pipes.make()

    def depth(self, wire: Any = None) -> int:
        """Return how many messages wait in all queues. Raises Broken."""
        return sum(pipes.depth(wire) for pipes in self.all)

    def remove(self) -> None:
        """Delete everything. Raises Broken."""
        for pipes in self.all:
            pipes.remove()


class StageGroup:
    """The stages of all kinds of traffic, run together; to its crew it is one."""

    def __init__(
        self, target: Target, traffic: Traffic, names: Names, first: int, part: Part = WHOLE, offset: int = 0,
        **more: Any,
    ) -> None:  # fmt: skip
        self.first, self.offset = first, offset
        self.stages = [
            Stage(target, kind, own, start, part, offset, **more)
            for kind, start, own in kinds_of(traffic, first, names)
        ]
        self.stopping = self.stages[0].stopping

    def open(self) -> None:
        """Subscribe and connect. Raises Broken."""
        for stage in self.stages:
            stage.open()

    def start(self) -> None:
        """Start to publish."""
        for stage in self.stages:
            stage.start()

    def end(self) -> None:
        """Let nobody publish any more."""
        self._together("end")

    def close(self, is_under_way: bool) -> None:
        """Disconnect and write the books."""
        self._together("close", is_under_way)

    def _together(self, what: str, *given: Any) -> None:
        doing = Group()
        for stage in self.stages:
            doing.spawn(getattr(stage, what), *given)
        doing.join(raise_error=True)

    def totals(self) -> Totals:
        """Return where all stand."""
        total = Totals()
        for stage in self.stages:
            total.add(stage.totals())
        return total

    @property
    def elsewhere(self) -> int:
        """Messages in flight of other workers; only a single kind of traffic is without a rate."""
        return self.stages[0].elsewhere

    @elsewhere.setter
    def elsewhere(self, flight: int) -> None:
        self.stages[0].elsewhere = flight

    def written(self) -> tuple[Book, Timeline]:
        """Return the books of all kinds as one."""
        book, timeline = self.stages[0].book, self.stages[0].timeline
        for stage in self.stages[1:]:
            book.join(stage.book)
            timeline.merge(stage.timeline)
        return book, timeline
