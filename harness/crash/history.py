"""What happened to the messages of one publisher through a disruption, and which promises that breaks.

A message is published once under its number. Until its confirm (basic.ack, PUBACK, PUBCOMP) it may be lost; afterwards
the broker has taken it over. An acknowledgement counts as settled when a round trip behind it has been answered.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from mqproof.harness.ledger import Ledger

ACK_GRACE = 2.0  # seconds before a kill within which a broker may not yet have written down what was acknowledged
NOTING = 0.5  # seconds that may pass between an answer and its note
SHOWN = 5
COUNTED = ("published", "confirmed", "refused", "delivered", "lost", "confirmed_lost", "duplicated", "redelivered")


@dataclass(slots=True)
class Sent:
    """One message. Times are monotonic seconds; ``confirmed`` None until the broker has said so."""

    at: float
    confirmed: float | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One arrival at the application. ``marked``: the broker said that it may be a repetition (redelivered, DUP)."""

    number: int
    at: float
    marked: bool = False
    connection: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """A broken promise. ``kind``: queue-lost, confirmed-lost, acknowledged-back, duplicated, reordered, unexpected."""

    kind: str
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        if not self.numbers:
            return self.kind
        shown = ", ".join(map(str, self.numbers[:SHOWN]))
        more = f" and {len(self.numbers) - SHOWN} more" if len(self.numbers) > SHOWN else ""
        return f"{self.kind}: message {shown}{more}"


@dataclass(slots=True)
class History:
    """One publisher's messages on one route. ``promise``: how often a confirmed message arrives."""

    promise: Literal["at least once", "exactly once"] = "at least once"
    sent: dict[int, Sent] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    settled: dict[int, float] = field(default_factory=dict)
    killed: list[float] = field(default_factory=list)  # when the broker was killed
    is_queue_gone: bool = False  # the durable queue did not outlive that: what came later had nowhere to go

    @property
    def missing(self) -> set[int]:
        """The confirmed messages that have not arrived yet."""
        arrived = {delivery.number for delivery in self.deliveries}
        return {number for number, sent in self.sent.items() if self._is_owed(sent) and number not in arrived}

    def problems(self) -> list[Problem]:
        """Return every promise that is broken, at the end of a run."""
        found = {
            "confirmed-lost": [] if self.is_queue_gone else sorted(self.missing),
            "acknowledged-back": sorted(self._back()),
            "duplicated": sorted(self._duplicated()) if self.promise == "exactly once" else [],
            "reordered": sorted(self._reordered()),
            "unexpected": sorted({each.number for each in self.deliveries} - self.sent.keys()),
        }
        lost = [Problem("queue-lost", tuple(sorted(self.missing)))] if self.is_queue_gone else []
        return lost + [Problem(kind, tuple(numbers)) for kind, numbers in found.items() if numbers]

    def ledger(self) -> Ledger:
        """Return the books of this history."""
        ledger = Ledger()
        for number, sent in self.sent.items():
            ledger.publish(1, number)
            if sent.refused:
                ledger.refuse(1, number)
            elif self._is_owed(sent):
                ledger.confirm(1, number)
            elif sent.confirmed is not None:
                ledger.excuse("no queue to go to", 1, number)
            else:
                ledger.excuse("never confirmed", 1, number)
        for delivery in self.deliveries:
            path = str(delivery.connection)
            ledger.deliver(1, delivery.number, path=path, redelivered=delivery.marked)
        return ledger

    def numbers(self) -> dict[str, Any]:
        """Return the ledger's numbers, and how many acknowledged messages came back."""
        findings = self.ledger().findings().plain()
        return {**{name: findings[name] for name in COUNTED}, "settled": len(self.settled), "back": len(self._back())}

    def _is_owed(self, sent: Sent) -> bool:
        """Whether the broker has confirmed a message, while there was a queue: one that goes nowhere is confirmed."""
        if sent.confirmed is None or sent.refused:
            return False
        return not self.is_queue_gone or sent.confirmed < min(self.killed, default=float("inf"))

    def _back(self) -> set[int]:
        """What was settled and came again; not what was settled shortly before a kill."""
        back = set()
        for delivery in self.deliveries:
            settled = self.settled.get(delivery.number)
            if settled is None or delivery.at <= settled:
                continue
            if not any(-NOTING < killed - settled < ACK_GRACE and killed <= delivery.at for killed in self.killed):
                back.add(delivery.number)
        return back

    def _duplicated(self) -> Iterable[int]:
        counts = Counter(delivery.number for delivery in self.deliveries)
        return (number for number, count in counts.items() if count > 1)

    def _reordered(self) -> set[int]:
        """What arrives for the first time, unmarked, after a later one on the same connection."""
        seen: set[int] = set()
        highest: dict[int, int] = {}
        late = set()
        for delivery in self.deliveries:
            if delivery.number not in self.sent:
                continue
            is_first, last = delivery.number not in seen, highest.get(delivery.connection, -1)
            seen.add(delivery.number)
            if delivery.number > last:
                highest[delivery.connection] = delivery.number
            elif is_first and not delivery.marked:
                late.add(delivery.number)
        return late
