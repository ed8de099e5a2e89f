"""The ledger: what was published, confirmed and delivered, and therefore what was lost, repeated, reordered, changed.

Every message carries its publisher and its number in that publisher's sequence. The books are kept as intervals, so
that their memory is bounded by the gaps. Ledgers of several workers merge: what one published another may deliver.

A *route* is a way to one copy of a message: a queue, a subscription. Each publisher's messages are expected once on
every route named by ``expect``. A *path* is one consumer on one connection: within it, numbers must not go backwards.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from mqproof.harness.intervals import Intervals

SHOWN = 5  # examples of lost messages that findings name
# Why a copy is missing. Only the last one accuses the broker.
UNCONFIRMED = "unconfirmed when its connection ended"
NOT_SUBSCRIBED = "subscription not yet active"
IN_FLIGHT = "in flight at the end"
WORKER_DIED = "a worker of ours died"
ASKED = "a limit that was asked for"  # x-max-length, expiration and the like
LIMIT = "a limit of the broker, by its own drop counter"
NOTHING_CAME = "nothing came through: perhaps not allowed"
GONE = "the broker was gone, or had ended the connection"
UNEXPLAINED = "unexplained"
COUNTS = ("reordered", "reordered_by", "corrupted", "foreign", "redelivered", "repeats", "dropped_by_broker")
ALL = "*"  # an excuse for every route


@dataclass(slots=True)
class Published:
    """One publisher's side. ``refused``: the broker said no (nack).

    ``excused``: by route and cause, what is not the broker's if it is lost. ``gaps``: by route and cause, numbers with
    which a gap began that is not the broker's; it ends with the next number that arrived.
    """

    sent: Intervals = field(default_factory=Intervals)
    confirmed: Intervals = field(default_factory=Intervals)
    refused: Intervals = field(default_factory=Intervals)
    routes: set[str] = field(default_factory=set)
    excused: dict[tuple[str, str], Intervals] = field(default_factory=dict)
    gaps: dict[tuple[str, str], set[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Arrived:
    """What one route brought of one publisher; ``highest`` by path."""

    seen: Intervals = field(default_factory=Intervals)
    total: int = 0
    highest: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Findings:
    """The result, all in messages. ``lost`` counts a missing copy on every route, ``delivered`` each copy once.

    ``reordered``: arrived after a later one on the same path, though neither redelivered nor a repeat;
    ``reordered_by``: the largest distance. ``unexpected``: never published, foreign, or on a route it was not meant
    for. ``confirmed_lost``: confirmed by the broker, and its loss unexplained. ``lost_by_cause``: only ``unexplained``
    accuses the broker. ``examples``: of unexplained losses.
    """

    published: int
    confirmed: int
    delivered: int
    lost: int
    duplicated: int
    reordered: int
    reordered_by: int
    corrupted: int
    unexpected: int
    refused: int
    redelivered: int
    unconfirmed_delivered: int
    confirmed_lost: int
    lost_by_cause: dict[str, int]
    examples: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return the findings as data for JSON."""
        return {**asdict(self), "examples": list(self.examples)}


class Ledger:
    """The books of one worker, or of several merged."""

    def __init__(self) -> None:
        self.publishers: dict[int, Published] = {}
        self.arrivals: dict[tuple[str, int], Arrived] = {}
        self.reordered = 0
        self.reordered_by = 0
        self.corrupted = 0
        self.foreign = 0
        self.redelivered = 0
        self.repeats = 0  # found elsewhere
        self.dropped_by_broker = 0  # by its own counters, while the load ran

    # -- the publisher's side --------------------------------------------------------------------------------------

    def expect(self, publisher: int, *routes: str) -> None:
        """Say on which routes this publisher's messages have to arrive; on one called "" when nothing is said."""
        self._publisher(publisher).routes.update(routes)

    def publish(self, publisher: int, first: int, stop: int | None = None) -> None:
        """Note messages as published: a number, or those from ``first`` to before ``stop``."""
        self._publisher(publisher).sent.add(first, stop)

    def confirm(self, publisher: int, first: int, stop: int | None = None) -> None:
        """Note that the broker has taken responsibility (basic.ack, PUBACK, PUBREC)."""
        self._publisher(publisher).confirmed.add(first, stop)

    def refuse(self, publisher: int, first: int, stop: int | None = None) -> None:
        """Note that the broker refused messages (basic.nack, a reason code of 0x80 or more)."""
        self._publisher(publisher).refused.add(first, stop)

    def excuse(self, cause: str, publisher: int, first: int, stop: int | None = None, *, route: str = ALL) -> None:
        """Give a cause for the case that these messages are lost; the first cause given counts."""
        self._publisher(publisher).excused.setdefault((route, cause), Intervals()).add(first, stop)

    def excuse_gap(self, cause: str, publisher: int, first: int, *, route: str = ALL) -> None:
        """Give a cause for what is missing from ``first`` to before the next number that arrives on the route."""
        self._publisher(publisher).gaps.setdefault((route, cause), set()).add(first)

    def excuse_route(self, cause: str, route: str) -> None:
        """Give a cause for everything that is missing on a route, whoever published it."""
        for books in self.publishers.values():
            if route in (books.routes or {""}):
                for start, stop in books.sent:
                    books.excused.setdefault((route, cause), Intervals()).add(start, stop)

    def adopt(self, publisher: int, *routes: str) -> None:
        """Take what arrived of a publisher whose own books are lost with its worker for all that it published."""
        books = self._publisher(publisher)
        books.routes.update(routes)
        for route in sorted(books.routes) or [""]:
            books.sent.update(self._seen(route, publisher))
        for start, stop in books.sent:
            self.excuse(WORKER_DIED, publisher, start, stop)

    # -- the consumer's side ---------------------------------------------------------------------------------------

    def deliver(
        self, publisher: int, number: int, *, route: str = "", path: str = "", redelivered: bool = False,
        intact: bool = True,
    ) -> bool:
        """Note one arrival; return whether it is the first on its route.

        ``redelivered``: the broker says that it may be a repeat (redelivered, DUP), which excuses its place in the
        order. ``intact``: the contents are as they were published.
        """  # fmt: skip
        arrived = self._arrived(route, publisher)
        arrived.total += 1
        is_new = arrived.seen.add(number) == 1
        highest = arrived.highest.get(path, -1)
        if number > highest:
            arrived.highest[path] = number
        elif is_new and not redelivered:
            self.reordered += 1
            self.reordered_by = max(self.reordered_by, highest - number)
        self.redelivered += redelivered
        self.corrupted += not intact
        return is_new

    def deliver_range(self, publisher: int, first: int, stop: int, *, route: str = "", repeats: int = 0) -> None:
        """Note arrivals whose order was looked at elsewhere; ``repeats``: how many more copies of them came."""
        arrived = self._arrived(route, publisher)
        arrived.seen.add(first, stop)
        arrived.total += stop - first + repeats

    def note_order(self, late: int, by: int) -> None:
        """Note late arrivals that were found elsewhere, and their largest distance."""
        self.reordered += late
        self.reordered_by = max(self.reordered_by, by)

    def note_repeats(self, count: int) -> None:
        """Note arrivals beyond the first of their message that were found elsewhere."""
        self.repeats += count

    def note_strange(self, *, corrupted: int = 0, foreign: int = 0, redelivered: int = 0) -> None:
        """Note arrivals of unknown origin: damaged beyond recognition, or nobody's of this run."""
        self.corrupted += corrupted
        self.foreign += foreign
        self.redelivered += redelivered

    # -- together --------------------------------------------------------------------------------------------------

    def merge(self, other: "Ledger") -> None:
        """Add another worker's books; the other one's paths are not this one's."""
        for publisher, theirs in other.publishers.items():
            ours = self._publisher(publisher)
            ours.sent.update(theirs.sent)
            ours.confirmed.update(theirs.confirmed)
            ours.refused.update(theirs.refused)
            ours.routes |= theirs.routes
            for key, numbers in theirs.excused.items():
                ours.excused.setdefault(key, Intervals()).update(numbers)
            for key, starts in theirs.gaps.items():
                ours.gaps.setdefault(key, set()).update(starts)
        for (route, publisher), theirs_in in other.arrivals.items():
            ours_in = self._arrived(route, publisher)
            ours_in.seen.update(theirs_in.seen)
            ours_in.total += theirs_in.total
            for path, highest in theirs_in.highest.items():
                ours_in.highest[path] = max(highest, ours_in.highest.get(path, -1))
        self.note_order(other.reordered, other.reordered_by)
        self.note_repeats(other.repeats)
        self.note_strange(corrupted=other.corrupted, foreign=other.foreign, redelivered=other.redelivered)
        self.dropped_by_broker += other.dropped_by_broker

    def missing(self) -> Iterable[tuple[int, str, Intervals]]:
        """Yield publisher, route and numbers of all copies that did not arrive."""
        for publisher, books in self.publishers.items():
            for route in sorted(books.routes) or [""]:
                lost = books.sent.minus(books.refused).minus(self._seen(route, publisher))
                if len(lost):
                    yield publisher, route, lost

    @property
    def outstanding(self) -> int:
        """How many copies are published and have not arrived."""
        return sum(len(numbers) for _, _, numbers in self.missing())

    def findings(self) -> Findings:
        """Return what the books say."""
        causes: Counter[str] = Counter()
        examples = []
        confirmed_lost = 0
        for publisher, route, lost in self.missing():
            for cause, numbers in self.explained(publisher, route, lost):
                causes[cause] += len(numbers)
                if cause == UNEXPLAINED:
                    confirmed_lost += len(numbers.both(self.publishers[publisher].confirmed))
                    examples += [_example(publisher, route, start, stop) for start, stop in numbers]
        if by_limit := min(causes[UNEXPLAINED], self.dropped_by_broker):
            causes[UNEXPLAINED] -= by_limit
            causes[LIMIT] += by_limit
            confirmed_lost = min(confirmed_lost, causes[UNEXPLAINED])
            examples = examples if causes[UNEXPLAINED] else []
        unexpected, distinct = self._judge_arrivals()
        return Findings(
            published=sum(len(books.sent) for books in self.publishers.values()),
            confirmed=sum(len(books.confirmed) for books in self.publishers.values()),
            delivered=distinct,
            lost=causes.total(),
            duplicated=self.repeats + sum(arrived.total - len(arrived.seen) for arrived in self.arrivals.values()),
            reordered=self.reordered,
            reordered_by=self.reordered_by,
            corrupted=self.corrupted,
            unexpected=unexpected + self.foreign,
            refused=sum(len(books.refused) for books in self.publishers.values()),
            redelivered=self.redelivered,
            unconfirmed_delivered=self._unconfirmed_delivered(),
            confirmed_lost=confirmed_lost,
            lost_by_cause={cause: count for cause, count in causes.items() if count},
            examples=tuple(examples[:SHOWN]),
        )

    def explained(self, publisher: int, route: str, lost: Intervals) -> Iterable[tuple[str, Intervals]]:
        """Yield the causes of one publisher's losses on one route and the numbers of each; the unexplained last."""
        books = self.publishers[publisher]
        for (where, cause), numbers in sorted(books.excused.items(), key=lambda item: item[0]):
            if where in (ALL, route) and len(known := lost.both(numbers)):
                yield cause, known
                lost = lost.minus(numbers)
        for (where, cause), starts in sorted(books.gaps.items(), key=lambda item: item[0]):
            if where in (ALL, route):
                gaps = Intervals((first, self._next_seen(route, publisher, first)) for first in sorted(starts))
                if len(known := lost.both(gaps)):
                    yield cause, known
                    lost = lost.minus(gaps)
        if len(lost):
            yield UNEXPLAINED, lost

    def _next_seen(self, route: str, publisher: int, first: int) -> int:
        """Return the first number from ``first`` on that arrived; beyond all that was sent where none did."""
        for start, stop in self._seen(route, publisher):
            if stop > first:
                return max(start, first)
        sent = [stop for _, stop in self.publishers[publisher].sent]
        return max([*sent, first])

    def _judge_arrivals(self) -> tuple[int, int]:
        """Return how many numbers arrived that were not meant to, and how many that were."""
        unexpected = expected = 0
        for (route, publisher), arrived in self.arrivals.items():
            books = self.publishers.get(publisher)
            meant = books is not None and route in (books.routes or {""})
            known = len(arrived.seen.both(books.sent)) if books is not None and meant else 0
            unexpected += len(arrived.seen) - known
            expected += known
        return unexpected, expected

    def _unconfirmed_delivered(self) -> int:
        """Count messages that arrived though never confirmed, of publishers that were ever confirmed anything."""
        count = 0
        for publisher, books in self.publishers.items():
            if len(books.confirmed):
                seen = Intervals()
                for route in sorted(books.routes) or [""]:
                    seen.update(self._seen(route, publisher))
                count += len(books.sent.both(seen).minus(books.confirmed))
        return count

    def _seen(self, route: str, publisher: int) -> Intervals:
        arrived = self.arrivals.get((route, publisher))
        return arrived.seen if arrived is not None else Intervals()

    def _publisher(self, publisher: int) -> Published:
        return self.publishers.setdefault(publisher, Published())

    def _arrived(self, route: str, publisher: int) -> Arrived:
        return self.arrivals.setdefault((route, publisher), Arrived())

    # -- travelling ------------------------------------------------------------------------------------------------

    def plain(self) -> dict[str, Any]:
        """Return the books as data for JSON."""
        return {
            "publishers": [
                [
                    publisher, books.sent.plain(), books.confirmed.plain(), books.refused.plain(), sorted(books.routes),
                    [[*key, numbers.plain()] for key, numbers in books.excused.items()],
                    [[*key, sorted(starts)] for key, starts in books.gaps.items()],
                ]
                for publisher, books in self.publishers.items()
            ],
            "arrivals": [
                [route, publisher, arrived.seen.plain(), arrived.total, arrived.highest]
                for (route, publisher), arrived in self.arrivals.items()
            ],
            "counts": {name: getattr(self, name) for name in COUNTS},
        }  # fmt: skip

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        """Return the ledger that ``plain`` described."""
        ledger = cls()
        for publisher, sent, confirmed, refused, routes, excused, gaps in data["publishers"]:
            ledger.publishers[publisher] = Published(
                Intervals(sent), Intervals(confirmed), Intervals(refused), set(routes),
                {(route, cause): Intervals(ranges) for route, cause, ranges in excused},
                {(route, cause): set(starts) for route, cause, starts in gaps},
            )  # fmt: skip
        for route, publisher, seen, total, highest in data["arrivals"]:
            ledger.arrivals[route, publisher] = Arrived(Intervals(seen), total, dict(highest))
        for name in COUNTS:
            setattr(ledger, name, data["counts"][name])
        return ledger


def _example(publisher: int, route: str, start: int, stop: int) -> str:
    numbers = str(start) if stop == start + 1 else f"{start} to {stop - 1}"
    return f"publisher {publisher}, message {numbers}" + (f", on {route}" if route else "")
