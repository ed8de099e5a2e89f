"""What a load run writes down while it runs, and the result that it comes to."""

import time
from dataclasses import dataclass, field
from typing import Any, Self

from mqproof.harness.histograms import Latencies
from mqproof.harness.ledger import Ledger
from mqproof.loadtests.messages import Stamp, read, write

PLAIN = ("started", "stopped", "first_delivery", "last_delivery", "errors", "counts", "figures")


@dataclass(slots=True)
class Publisher:
    """One publisher's place in the book: numbers its messages."""

    book: "Book"
    number: int
    sequence: int = 0

    def next_payload(self, size: int, intended: int | None = None) -> tuple[int, bytes]:
        """Book the next message as published; return its sequence number and payload."""
        sequence, self.sequence = self.sequence, self.sequence + 1
        self.book.ledger.publish(self.number, sequence)
        stamp = Stamp(self.number, sequence, time.monotonic_ns() if intended is None else intended)
        return sequence, write(stamp, size)

    def confirmed(self, sequence: int) -> None:
        """Book that the broker took the message."""
        self.book.ledger.confirm(self.number, sequence)

    def refused(self, sequence: int) -> None:
        """Book that the broker refused the message."""
        self.book.ledger.refuse(self.number, sequence)


@dataclass(slots=True)
class Book:
    """Ledger and histograms of one run. ``latencies``: by name; ``end to end`` is always among them."""

    ledger: Ledger = field(default_factory=Ledger)
    latencies: dict[str, Latencies] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    stopped: float | None = None
    first_delivery: float | None = None
    last_delivery: float | None = None
    errors: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # of what a scenario does on purpose, and of what it sees
    outages: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # client -> (start, length) in s
    figures: dict[str, float] = field(default_factory=dict)  # sums that workers' books add up, by name
    _publishers: int = 0

    def publisher(self) -> Publisher:
        """Return a new publisher."""
        self._publishers += 1
        return Publisher(self, self._publishers)

    def reserve(self, count: int) -> int:
        """Return the first of so many new publishers' numbers."""
        first, self._publishers = self._publishers + 1, self._publishers + count
        return first

    def skip(self, other: "Book") -> None:
        """Use none of the publishers' numbers of another book of the same run."""
        self._publishers = max(self._publishers, other._publishers)

    def latency(self, name: str) -> Latencies:
        """Return the histogram of this name."""
        return self.latencies.setdefault(name, Latencies())

    def record(self, name: str, seconds: float) -> None:
        """Add one duration to the histogram of this name."""
        self.latency(name).record(seconds * 1_000_000)

    def count(self, name: str, count: int = 1) -> None:
        """Count something that is no error."""
        if count:
            self.counts[name] = self.counts.get(name, 0) + count

    def merge(self, other: "Book") -> None:
        """Add another stage's or worker's book."""
        self.ledger.merge(other.ledger)
        for name, latencies in other.latencies.items():
            self.latency(name).merge(latencies)
        for mine, theirs in ((self.errors, other.errors), (self.counts, other.counts)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        for who, spans in other.outages.items():
            self.outages.setdefault(who, []).extend(spans)
        for name, value in other.figures.items():
            self.figures[name] = self.figures.get(name, 0.0) + value
        self.skip(other)

    def join(self, other: "Book") -> None:
        """Merge the book of a worker that ran at the same time: the rates are of all together."""
        self.merge(other)
        self.started = min(self.started, other.started)
        for name, pick in (("stopped", max), ("first_delivery", min), ("last_delivery", max)):
            known = [value for value in (getattr(self, name), getattr(other, name)) if value is not None]
            setattr(self, name, pick(known) if known else None)

    def plain(self) -> dict[str, Any]:
        """Return the book as data that a worker sends."""
        return {
            "ledger": self.ledger.plain(),
            "latencies": {name: each.plain() for name, each in self.latencies.items()},
            "outages": {who: [list(span) for span in spans] for who, spans in self.outages.items()},
            **{name: getattr(self, name) for name in PLAIN},
        }

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        """Return the book that ``plain`` described."""
        book = cls(ledger=Ledger.from_plain(data["ledger"]))
        book.latencies = {name: Latencies.from_plain(each) for name, each in data["latencies"].items()}
        book.outages = {who: [(start, length) for start, length in spans] for who, spans in data["outages"].items()}
        for name in PLAIN:
            setattr(book, name, data[name])
        return book

    def delivered(self, consumer: str, payload: bytes, *, redelivered: bool = False) -> None:
        """Book a delivery and its end-to-end latency."""
        now = time.monotonic()
        self.first_delivery = self.first_delivery or now
        self.last_delivery = now
        stamp = read(payload)
        if stamp is None:
            self.ledger.note_strange(corrupted=1)
        elif self.ledger.deliver(stamp.publisher, stamp.sequence, path=consumer, redelivered=redelivered):
            self.record("end to end", (time.monotonic_ns() - stamp.intended) / 1e9)

    def failed(self, error: BaseException) -> None:
        """Count an error of the broker or the network."""
        name = f"{type(error).__name__}: {str(error)[:120]}"
        self.errors[name] = self.errors.get(name, 0) + 1

    def result(self) -> dict[str, Any]:
        """Return metrics and ledger as JSON shows them. Rates are None where nothing was measured."""
        found = self.ledger.findings()
        end_to_end = self.latencies.get("end to end", Latencies())
        return {
            "metrics": {
                "published": found.published,
                "confirmed": found.confirmed,
                "delivered": found.delivered,
                "publish_rate_msg_s": _rate(found.published, self.started, self.stopped),
                "delivery_rate_msg_s": _rate(found.delivered, self.started, self.last_delivery),
                "latency_us": end_to_end.summary(),
            },
            "ledger": found.plain(),
            "latencies_us": {name: each.summary() for name, each in sorted(self.latencies.items())},
            "histograms": {name: each.plain() for name, each in sorted(self.latencies.items())},
            "books": self.ledger.plain(),
            "errors": self.errors,
            "counts": self.counts,
            "unavailability": _unavailability(self.outages),
        }


def _unavailability(outages: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """Return for each client how often and how many seconds it could not do its work."""
    return {
        who: {
            "times": len(spans), "seconds": round(sum(length for _, length in spans), 3),
            "longest_s": round(max(length for _, length in spans), 3),
        }
        for who, spans in sorted(outages.items())
    }  # fmt: skip


def _rate(count: int, start: float | None, end: float | None) -> float | None:
    if not count or start is None or end is None or end <= start:
        return None
    return round(count / (end - start), 1)
