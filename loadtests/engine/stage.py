"""One stage of the engine: greenlets that publish by the timetable, greenlets that receive, and the books of both."""

import time
from collections import Counter
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Group
from mqproof.harness.probing.limits import ProbeNames
from mqproof.harness.targets.target import Target
from mqproof.loadtests.book import Book
from mqproof.loadtests.engine.flow import AGAIN, Flow, Report
from mqproof.loadtests.engine.kernels import CLOSED
from mqproof.loadtests.engine.plumbing import plumbing
from mqproof.loadtests.engine.tracker import Tracker
from mqproof.loadtests.engine.traffic import Timetable, Traffic
from mqproof.loadtests.engine.wire import Broken

QUIET = 3.0  # seconds without an arrival, after which what is missing is lost
DRAIN = 20.0  # seconds for what is under way when publishing ends, at most; longer where consumers work


class Stage:
    """Runs one :class:`Traffic` against a target and writes into a book."""

    def __init__(self, target: Target, traffic: Traffic, book: Book, names: ProbeNames, report: Report) -> None:
        self.target, self.traffic, self.book, self.report = target, traffic, book, report
        self.plumbing = plumbing(target, traffic, names)
        self.first = book.reserve(traffic.publishers)
        known = self.first + traffic.publishers
        self.trackers = [
            Tracker(book.ledger, self.full(index), known, traffic.consumers) for index in range(traffic.routes)
        ]
        self.flows: list[Flow] = []
        self.published = self.received = 0
        self.seconds: dict[str, Counter[int]] = {"published": Counter(), "delivered": Counter()}
        self.ended, self.stopping = Event(), Event()  # of publishing, of everything
        self.moment = time.monotonic()
        self.blocked = 0

    def full(self, index: int) -> str:
        """Return a route's name in the ledger: the stages' messages must not be taken for each other's."""
        return self.traffic.route(index)

    def run(self, interrupted: Event) -> None:
        """Make everything, publish, drain and remove everything. Raises Broken when it cannot begin."""
        consumers, publishers = Group(), Group()
        try:
            self.plumbing.make()
            for index in range(self.traffic.routes):
                for path in range(self.traffic.consumers):
                    consumers.spawn(self._consume, index, path, self.plumbing.consumer(index))
            self.flows = [Flow(self, number) for number in range(self.traffic.publishers)]
            for flow in self.flows:
                flow.connect()
            start = time.monotonic_ns()
            self.book.started = self.moment = start / 1e9
            for flow in self.flows:
                publishers.spawn(flow.run, Timetable(self.traffic.phases, self.traffic.publishers, start))
            self._wait(publishers, interrupted)
            self._drain()
        finally:
            self.stopping.set()
            for flow in self.flows:
                flow.close()
            publishers.kill(timeout=2)
            consumers.join(timeout=3)
            consumers.kill(timeout=2)
            self.plumbing.remove()
            self._close_books()

    def _wait(self, publishers: Group, interrupted: Event) -> None:
        until = self.moment + self.traffic.lasts + 1.0
        while time.monotonic() < until and not interrupted.wait(0.05):
            if all(flow.is_done for flow in self.flows):
                break
        self.ended.set()
        publishers.join(timeout=2)
        self.book.stopped = time.monotonic()

    def _drain(self) -> None:
        """Wait for confirms and copies that are owed, as long as any come."""
        longest = DRAIN + self.traffic.work * self.owed / max(1, self.traffic.consumers * self.traffic.routes)
        until, last, moment = time.monotonic() + longest, -1, time.monotonic()
        while self.owed or any(flow.outstanding for flow in self.flows):
            progress = self.received + sum(flow.settled for flow in self.flows)
            now = time.monotonic()
            if progress != last:
                last, moment = progress, now
            if now > until or now - moment > QUIET + self.traffic.work:
                break
            gevent.sleep(0.01)

    @property
    def owed(self) -> int:
        """How many copies have been published, not refused, and have not arrived."""
        copies = sum((flow.sent - flow.refused) * len(self.traffic.routes_of(flow.number)) for flow in self.flows)
        return copies - sum(tracker.new for tracker in self.trackers)

    @property
    def in_flight(self) -> int:
        """How many messages have been published and not arrived on the slowest route."""
        if self.traffic.pattern == "fan":
            return self.published - min(tracker.new for tracker in self.trackers)
        return self.published - sum(tracker.new for tracker in self.trackers)

    def note_published(self, count: int, octets: int) -> None:
        """Count what a flow has sent."""
        self.published += count
        self.seconds["published"][int(time.monotonic() - self.moment)] += count
        self.report("publish", count, octets)

    def _consume(self, route: int, path: int, wire: Any) -> None:
        """Receive until the end; a connection that ends is opened again. Cut it off, where that is the scenario."""
        while not self.stopping.is_set():
            try:
                self._receive(route, path, wire)
            except Broken as error:
                self.book.failed(error)
            wire.socket.close()
            if not self.stopping.is_set():
                gevent.sleep(AGAIN)
                wire = self._again(route) or wire
        wire.close()

    def _again(self, route: int) -> Any:
        try:
            return self.plumbing.consumer(route)
        except Broken as error:
            self.book.failed(error)
            return None

    def _receive(self, route: int, path: int, wire: Any) -> None:
        crash = time.monotonic() + self.traffic.crash if self.traffic.crash and path == 0 else float("inf")
        messages, events = wire.walk()
        self._take(route, path, wire, messages, events, 0)
        while not self.stopping.is_set():
            messages, events, octets = wire.receive(0.2)
            while len(messages) or len(events):
                if self.traffic.work:
                    if not self._work(route, path, wire, messages.copy(), events.copy(), crash):
                        self.book.count("workers cut off in mid-task")
                        return
                else:
                    self._take(route, path, wire, messages, events, octets)
                messages, events = wire.walk()
                octets = 0
            gevent.sleep(0)

    def _take(self, route: int, path: int, wire: Any, messages: Any, events: Any, octets: int) -> None:
        wire.check(events)
        count = len(messages)
        if count:
            self.note_arrived(self.trackers[route].arrive(messages, count, time.monotonic_ns(), path))
            self.report("receive", count, octets)
        wire.acknowledge(events)

    def _work(self, route: int, path: int, wire: Any, messages: Any, events: Any, crash: float) -> bool:
        """Take one at a time, as a worker does, and acknowledge each when its work is done.

        Return False where it is time to crash: in mid-task, before the acknowledgement.
        """
        wire.check(events)
        owed = events[(events[:, 0] != CLOSED)]
        for index in range(len(messages)):
            self.note_arrived(self.trackers[route].arrive(messages[index : index + 1], 1, time.monotonic_ns(), path))
            gevent.sleep(self.traffic.work)
            if time.monotonic() > crash and not self.ended.is_set():
                return False
            wire.acknowledge(owed[index : index + 1])
            self.report("receive", 1, 0)
        wire.acknowledge(owed[len(messages) :])
        return True

    def note_arrived(self, new: int) -> None:
        """Count what has arrived."""
        self.received += new
        now = time.monotonic()
        self.seconds["delivered"][int(now - self.moment)] += new
        self.book.first_delivery = self.book.first_delivery or now
        self.book.last_delivery = now

    def _close_books(self) -> None:
        latencies = self.book.latency("end to end")
        for tracker in self.trackers:
            tracker.close(latencies)
        self.book.count("connection.blocked", self.blocked)
        for flow in self.flows:
            routes = [self.full(route) for route in self.traffic.routes_of(flow.number)]
            self.book.ledger.expect(flow.publisher, *routes)
            self.book.ledger.publish(flow.publisher, 0, flow.sent)
            flow.write_confirms(self.book.ledger)
