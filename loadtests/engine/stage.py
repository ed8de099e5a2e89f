"""One stage of the engine: greenlets that publish by the timetable, greenlets that receive, and the books of both."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
import numpy as np
from gevent.event import Event
from gevent.pool import Group
from mqproof.harness.ledger import ASKED, GONE, IN_FLIGHT
from mqproof.harness.targets.target import Target
from mqproof.loadtests.book import Book
from mqproof.loadtests.engine.consumer import Consumer
from mqproof.loadtests.engine.fleet import FleetOfDevices
from mqproof.loadtests.engine.flow import Flow
from mqproof.loadtests.engine.kernels import REPEAT
from mqproof.loadtests.engine.names import Names
from mqproof.loadtests.engine.pace import Pace
from mqproof.loadtests.engine.part import WHOLE, Part
from mqproof.loadtests.engine.plumbing import plumbing
from mqproof.loadtests.engine.spread import Spread
from mqproof.loadtests.engine.timetable import Timetable
from mqproof.loadtests.engine.tracker import LAST_BUCKET, Tracker, bucket
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.timeline import COARSE, Timeline
from mqproof.loadtests.tracing import Trace

Report = Callable[[int, Any], None]  # messages published since the last one, and latencies: counts by bucket


@dataclass(slots=True)
class Totals:
    """Where a stage stands, of one worker or of several added. All in messages, ``copies`` in copies."""

    published: int = 0
    received: int = 0  # different ones
    arrivals: int = 0  # repeats included
    copies: int = 0  # that are owed for what was published
    settled: int = 0
    outstanding: int = 0
    is_done: bool = True
    blocked: int = 0

    def add(self, other: "Totals") -> None:
        """Add another worker's."""
        for name in ("published", "received", "arrivals", "copies", "settled", "outstanding", "blocked"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.is_done = self.is_done and other.is_done

    @property
    def owed(self) -> int:
        """How many copies have been published, not refused, and have not arrived."""
        return self.copies - self.received


class Stage:
    """One worker's part of one :class:`Traffic` against a target; writes into a book.

    ``first``: the first publisher's number; ``offset``: ns from this machine's clock to the one that all share.
    """

    def __init__(
        self, target: Target, traffic: Traffic, names: Names, first: int, part: Part = WHOLE, offset: int = 0,
        trace: Trace | None = None, report: Report = lambda published, buckets: None,
    ) -> None:  # fmt: skip
        self.target, self.traffic, self.first, self.part, self.offset = target, traffic, first, part, offset
        self.book, self.trace, self.report = Book(), trace, report
        self.plumbing = plumbing(target, traffic, names)
        known = first + traffic.publishers
        self.routes = part.of(traffic.routes)
        ledger = self.book.ledger
        self.trackers = {
            index: Tracker(ledger, traffic.route(index), known, traffic.consumers) for index in self.routes
        }
        self.sources: list[Any] = []
        self.timeline = Timeline.of(traffic.lasts)
        self.ended, self.stopping = Event(), Event()  # of publishing, of everything
        self.moment = time.monotonic()
        self.published = self.arrivals = self.blocked = 0
        self.cut: dict[int, float] = {}  # route -> when its worker was cut off, until another has taken over
        self._gone: set[int] = set()  # routes whose queue went with the broker
        self.elsewhere = 0  # published less received by the other workers, as far as known
        self.confirmed = self.book.latency("confirm")
        spreads = traffic.pattern == "fan" and traffic.routes > 1 and part.count == 1 and traffic.publishers == 1
        self.spread = Spread(traffic.routes) if spreads else None
        self._consumers, self._publishers = Group(), Group()
        self._sampled: Any = 0
        self._reported = 0

    # -- its life --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Subscribe, then connect the publishers. Raises Broken when it cannot begin."""
        pace = Pace(self.traffic.connect_rate)
        for index in self.routes:
            for path in range(self.traffic.consumers):
                pace.wait()
                self._consumers.spawn(Consumer(self, index, path).run)
        if self.traffic.fleet:
            self.sources = [FleetOfDevices(self)]
            self.sources[0].open(pace)
            return
        self.sources = [Flow(self, number) for number in self.part.of(self.traffic.publishers)]
        for flow in self.sources:
            pace.wait()
            flow.connect()

    def start(self) -> None:
        """Start to publish."""
        start = time.monotonic_ns()
        self.book.started = self.moment = start / 1e9
        traffic = self.traffic
        for source in self.sources:
            self._publishers.spawn(source.run, Timetable(traffic.phases, traffic.publishers, start, source.number))
        self._publishers.spawn(self._sample)

    def end(self) -> None:
        """Let nobody publish any more."""
        self.ended.set()
        self._publishers.join(timeout=2)
        self.book.stopped = time.monotonic()

    def close(self, is_under_way: bool) -> None:
        """Disconnect and write the books. ``is_under_way``: messages still came when the drain was given up."""
        self.stopping.set()
        closing = Group()
        for source in self.sources:
            closing.spawn(source.close)
        closing.join(timeout=10)
        self._publishers.kill(timeout=2)
        self._consumers.join(timeout=3)
        self._consumers.kill(timeout=2)
        self._take_sample()
        self._write_books(is_under_way)

    def totals(self) -> Totals:
        """Return where it stands."""
        return Totals(
            published=self.published, received=self.received, arrivals=self.arrivals,
            copies=sum(source.copies for source in self.sources),
            settled=sum(source.settled for source in self.sources),
            outstanding=sum(source.outstanding for source in self.sources),
            is_done=all(source.is_done for source in self.sources), blocked=self.blocked,
        )  # fmt: skip

    @property
    def received(self) -> int:
        """How many different messages have arrived here."""
        return sum(tracker.new for tracker in self.trackers.values())

    @property
    def keeps_messages(self) -> bool:
        """Whether the broker keeps messages for a route whose consumers are all gone."""
        traffic = self.traffic
        if self.target.protocol == "mqtt":
            return traffic.sessions
        return bool(traffic.durable or traffic.crash or traffic.poll)

    @property
    def room(self) -> int:
        """How many messages more may be in flight, without a rate; of several workers each has a share."""
        if self.traffic.pattern == "fan" and self.part.count == 1:
            flight = self.published - min(tracker.new for tracker in self.trackers.values())
        else:
            copies = self.traffic.routes if self.traffic.pattern == "fan" else 1
            flight = self.published - self.received // copies + self.elsewhere
        return (self.traffic.window - flight) // self.part.count

    # -- what happens ----------------------------------------------------------------------------------------------

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.moment

    def note_published(self, count: int) -> None:
        """Count what a source has sent."""
        self.published += count
        self.timeline.count("published", self.passed, count)

    def note_blocked(self, count: int) -> None:
        """Count a publisher that the broker holds back (connection.blocked), or lets go on again (-1)."""
        self.blocked += count
        if count > 0:
            self.book.count("connection.blocked", count)
            self.timeline.count("blocked", self.passed, count)

    def note_confirm_time(self, seconds: float) -> None:
        """Record how long a confirm took."""
        self.confirmed.record(seconds * 1e6)
        self.timeline.confirmed(self.passed, seconds)

    def note_outage(self, who: str, began: float) -> None:
        """Record that a client could not do its work for a while that has just ended."""
        self.book.outages.setdefault(who, []).append((began - self.moment, time.monotonic() - began))

    def arrived(self, route: int, path: int, messages: Any) -> None:
        """Book arrivals."""
        moment = time.monotonic_ns()
        now = moment + self.offset
        if self.trace is not None:
            self.trace.arrived(now, self.traffic.route(route), path, messages)
        self.arrivals += len(messages)
        new = self.trackers[route].arrive(messages, len(messages), now, path)
        if self.spread is not None:
            self.spread.arrived(messages, moment)
        if route in self.cut and (messages[:, 3] & REPEAT).any():
            self.book.record("takeover", moment / 1e9 - self.cut.pop(route))
        self.timeline.count("delivered", self.passed, new)
        self.book.first_delivery = self.book.first_delivery or moment / 1e9
        self.book.last_delivery = moment / 1e9

    def excuse_gap(self, cause: str, route: int, first: Any) -> None:
        """Excuse what is missing from ``first`` (of each publisher) to the next arrival on a route."""
        for publisher in range(self.first, self.first + self.traffic.publishers):
            self.book.ledger.excuse_gap(cause, publisher, int(first[publisher]), route=self.traffic.route(route))

    def note_queue_gone(self, route: int) -> None:
        """Note that a route's queue is there no more: one that is not durable does not outlive the broker."""
        if not self.traffic.durable:
            self._gone.add(route)

    def _excuse_limits(self) -> None:
        """Excuse what a queue or a message of ours was given a limit for: the broker has to discard it."""
        if self.traffic.limits and self.target.protocol == "amqp":
            for publisher, books in self.book.ledger.publishers.items():
                for start, stop in books.sent:
                    self.book.ledger.excuse(ASKED, publisher, start, stop)

    def _sample(self) -> None:
        while not self.stopping.is_set():
            gevent.sleep(min(COARSE, self.timeline.step))
            self._take_sample()

    def _take_sample(self) -> None:
        """Put the latencies since the last sample into the timeline."""
        held = sum((tracker.histogram for tracker in self.trackers.values()), np.zeros(bucket(LAST_BUCKET) + 1, int))
        since = held - self._sampled
        self.timeline.sampled(self.passed, since)
        self.report(self.published - self._reported, since)
        self._sampled, self._reported = held, self.published

    def _write_books(self, is_under_way: bool) -> None:
        latencies = self.book.latency("end to end")
        tails = {route: tracker.highest() + 1 for route, tracker in self.trackers.items()}
        for tracker in self.trackers.values():
            tracker.close(latencies)
        for source in self.sources:
            source.write(self.book.ledger)
        self._excuse_limits()
        for route in self._gone:
            self.book.ledger.excuse_route(GONE, self.traffic.route(route))
        if is_under_way:
            for route, first in tails.items():
                self.excuse_gap(IN_FLIGHT, route, first)
        if self.spread is not None:
            self.book.latency("first to last subscriber").merge(self.spread.latencies())
        self.book.latencies = {name: each for name, each in self.book.latencies.items() if each.count}
