"""What following messages collects: hops between client and broker, what they cost, and which belong together.

A *hop* is one passage of a message between a client and the broker: a publish, or a delivery. A delivery is matched to
a publish by what both show: the topic (or exchange and routing key) and the payload. Where that content was published
once only, the match is by content; where it was published several times, the deliveries of each consumer are matched in
order, and are said to be so.
"""

import hashlib
import heapq
import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from mqproof.dissectors.overhead.frames import Connection
from mqproof.dissectors.overhead.streams import Seen

LIVE: Final = 50_000  # messages that further deliveries and acknowledgements are added to; the oldest give way
COSTLIEST: Final = 10
NAME: Final = 255  # characters of a long topic that are kept; AMQP's exchanges and keys have no more than 255 octets
SIZES: Final = 200  # different sizes that are told apart
STEP: Final = math.log(1.02)  # two percent between the buckets of a histogram

Notice = Callable[[Connection, str, list[int], str], None]  # where, kind of finding, packets, text
ContentKey = tuple[str, str, bytes, int]  # protocol, topic or exchange and key, digest, octets


def content_key(protocol: str, name: str, digest: bytes, size: int) -> ContentKey:
    """Return what identifies a content; of a name that is too long to keep, its beginning, and a digest of all."""
    if len(name) <= 2 * NAME + 3:
        return protocol, name, digest, size
    whole = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).digest()
    return protocol, name[:NAME] + "…", digest + whole, size


class Latencies:
    """Times in ns, kept within two percent; the least and the greatest are exact."""

    def __init__(self) -> None:
        self.count = 0
        self._buckets: Counter[int] = Counter()
        self._least, self._greatest = 0, 0

    def add(self, nanoseconds: int) -> None:
        """Take one; a negative one (clocks that were set, packets out of order) counts as 0."""
        value = max(0, nanoseconds)
        self._least = value if self.count == 0 else min(self._least, value)
        self._greatest = max(self._greatest, value)
        self.count += 1
        self._buckets[int(math.log(value) / STEP) if value else -1] += 1

    def at(self, share: float) -> int:
        """Return a percentile in ns, 0 without any."""
        wanted, seen = math.ceil(share * self.count), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                value = 0 if bucket < 0 else int(math.exp((bucket + 0.5) * STEP))
                return min(max(value, self._least), self._greatest)
        return 0

    def as_json(self) -> dict[str, Any] | None:
        """Return count and milliseconds; None without any."""
        if not self.count:
            return None
        row = {"min": self._least, "p50": self.at(0.5), "p95": self.at(0.95), "max": self._greatest}
        return {"count": self.count} | {f"{name}_ms": round(value / 1e6, 4) for name, value in row.items()}


@dataclass(slots=True)
class Cost:
    """What was spent. ``own``: octets of frames; ``octets``: with headers and bare ACKs, in shares; ``bare``: of these.

    ``packets`` in shares; ``touched``: how many had a part of it.
    """

    frames: int = 0
    own: float = 0.0
    octets: float = 0.0
    packets: float = 0.0
    bare: float = 0.0
    touched: int = 0
    last: int = 0  # the packet counted last

    def add(self, seen: Seen, share: float) -> None:
        """Take a frame, or the share of one that serves several messages."""
        self.frames += 1
        self.own += seen.size * share
        self.octets += (seen.size + seen.header_share) * share
        self.packets += seen.packet_share * share
        for carrier, _ in seen.spans:
            self.touched += carrier.number != self.last
            self.last = carrier.number

    def merge(self, other: "Cost") -> None:
        """Take what was collected elsewhere."""
        self.frames += other.frames
        self.own += other.own
        self.bare += other.bare
        self.octets += other.octets
        self.packets += other.packets
        self.touched += other.touched
        self.last = other.last or self.last


@dataclass(slots=True)
class Group:
    """What hops of one protocol and QoS came to."""

    published: int = 0
    delivered: int = 0
    payload: int = 0
    octets: float = 0.0
    packets: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    publish_to_ack: Latencies = field(default_factory=Latencies)
    publish_to_delivery: Latencies = field(default_factory=Latencies)
    publish_to_delivery_by_order: Latencies = field(default_factory=Latencies)
    delivery_to_ack: Latencies = field(default_factory=Latencies)


@dataclass(slots=True)
class SizeRow:
    """What messages of one size cost, all hops together."""

    messages: int = 0
    deliveries: int = 0
    payload: int = 0
    own: float = 0.0
    octets: float = 0.0
    bare: float = 0.0
    packets: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return sums: payload that crossed the wire, octets of frames, of all, of bare ACKs, and packets."""
        return {
            "messages": self.messages, "deliveries": self.deliveries, "payload": self.payload,
            "frame_bytes": round(self.own), "bytes": round(self.octets), "bare_ack_bytes": round(self.bare),
            "packets": round(self.packets, 2),
        }  # fmt: skip


@dataclass(eq=False, slots=True)
class Message:
    """An application message with all its hops that are known to be its own."""

    protocol: str
    group: str
    name: str
    payload: int
    file: str
    packet: int
    published: int  # ns; when its last octet passed
    cost: Cost = field(default_factory=Cost)
    deliveries: int = 0
    last_delivered: int = 0
    key: ContentKey | None = None

    def as_json(self) -> dict[str, Any]:
        """Return a row of the costliest."""
        took = self.last_delivered - self.published if self.deliveries and self.key else None
        return {
            "file": self.file, "packet": self.packet, "group": self.group, "name": self.name,
            "payload": self.payload, "deliveries": self.deliveries, "frames": self.cost.frames,
            "packets": self.cost.touched, "bytes": round(self.cost.octets, 1),
            "end_to_end_ms": None if took is None else round(max(0, took) / 1e6, 4),
        }  # fmt: skip


@dataclass(eq=False, slots=True)
class Hop:
    """One passage. ``stage``: the last step of its handshake that was seen."""

    group: Group
    message: Message
    is_publish: bool
    arrived: int  # ns
    packet: int
    stage: str = ""
    released: bool = False  # QoS 2: PUBREL was seen
    broken: bool = False  # its connection ended before the handshake did

    def add(self, seen: Seen, share: float = 1.0) -> None:
        """Book a frame, or a share of one, to the message."""
        cost = Cost(last=self.message.cost.last)
        cost.add(seen, share)
        self.take(cost)

    def take(self, cost: Cost) -> None:
        """Book what was collected before the message was known."""
        self.message.cost.merge(cost)
        self.group.octets += cost.octets
        self.group.packets += cost.packets

    def bare_ack(self, octets: float, packets: float) -> None:
        """Book a share of a packet that only acknowledges."""
        self.take(Cost(octets=octets, bare=octets, packets=packets))

    def acknowledged(self, seen: Seen) -> None:
        """Note that the handshake is complete."""
        times = self.group.publish_to_ack if self.is_publish else self.group.delivery_to_ack
        times.add(seen.last.time - self.arrived)
        self.group.counts["acknowledged_publishes" if self.is_publish else "acknowledged_deliveries"] += 1


@dataclass(slots=True)
class _Content:
    """Messages that look the same, in the order in which they were published, and how far each consumer has come."""

    messages: list[Message] = field(default_factory=list)
    gone: int = 0  # messages that gave way
    taken: dict[Any, int] = field(default_factory=dict)


class Messages:
    """All messages, in groups; a bounded number of them is kept to be matched.

    ``wanted`` tells by the name (topic, or exchange and routing key) which messages are asked for.
    """

    def __init__(self, wanted: Callable[[str, str], bool] = lambda protocol, name: True) -> None:
        self.groups: dict[str, Group] = {}
        self._wanted = wanted
        self._others: dict[str, Group] = {}
        self.sizes: dict[tuple[str, int], SizeRow] = {}
        self.forgotten = 0
        self._live: OrderedDict[Message, None] = OrderedDict()
        self._contents: dict[ContentKey, _Content] = {}
        self._costliest: list[tuple[float, int, Message]] = []
        self._serial = 0

    def publish(self, group: str, key: ContentKey, seen: Seen, first: int, payload: int, file: str) -> Hop:
        """A client hands a message to the broker. ``first``: the packet in which it begins."""
        message = Message(key[0], group, key[1], payload, file, first, seen.last.time, key=key)
        self._contents.setdefault(key, _Content()).messages.append(message)
        figures = self._group(group, key[1])
        figures.published += 1
        figures.payload += payload
        return self._hop(figures, message, seen, first, is_publish=True)

    def deliver(
        self, group: str, key: ContentKey, seen: Seen, first: int, payload: int, file: str, consumer: Any, flag: str
    ) -> Hop:
        """The broker hands a message to a consumer. ``flag``: it is "redelivered" or "retained", as the broker says."""
        figures = self._group(group, key[1])
        figures.delivered += 1
        figures.payload += payload
        again = flag == "redelivered"
        message, how = (None, "retained") if flag == "retained" else self._match(key, consumer, again=again)
        figures.counts[how] += 1
        figures.counts["redelivered"] += again
        if message is None:
            message = Message(key[0], group, key[1], payload, file, first, seen.last.time)
        else:
            ambiguous = how != "matched_by_content"
            times = figures.publish_to_delivery_by_order if ambiguous else figures.publish_to_delivery
            if not again:
                times.add(seen.last.time - message.published)
        message.deliveries += 1
        message.last_delivered = seen.last.time
        return self._hop(figures, message, seen, first, is_publish=False)

    def apart(self, group: str, name: str, seen: Seen, first: int, payload: int, file: str) -> Hop:
        """A message of which nothing tells where it came from or goes to; or that came back."""
        figures = self._group(group, name)
        figures.payload += payload
        message = Message(group.split()[0], group, name, payload, file, first, seen.last.time)
        return self._hop(figures, message, seen, first, is_publish=False)

    def costliest(self) -> list[Message]:
        """Return the messages that cost most, the costliest first; call it once, at the end."""
        for message in self._live:
            self._rank(message)
        self._live.clear()
        return [message for _, _, message in sorted(self._costliest, reverse=True)]

    def _size(self, message: Message) -> None:
        """Add a message to those of its size; when there are many sizes, to those of the next power of two."""
        size = message.payload
        if (message.group, size) not in self.sizes and len(self.sizes) >= SIZES:
            size = 1 << (size - 1).bit_length() if size else 0
        row = self.sizes.setdefault((message.group, size), SizeRow())
        hops = message.deliveries + (message.key is not None)
        row.messages += 1
        row.deliveries += message.deliveries
        row.payload += message.payload * hops
        row.own += message.cost.own
        row.octets += message.cost.octets
        row.bare += message.cost.bare
        row.packets += message.cost.packets

    def _hop(self, figures: Group, message: Message, seen: Seen, first: int, *, is_publish: bool) -> Hop:
        self._live[message] = None
        if len(self._live) > LIVE:
            oldest, _ = self._live.popitem(last=False)
            self.forgotten += 1
            self._rank(oldest)
            self._forget(oldest)
        return Hop(figures, message, is_publish, seen.last.time, first)

    def _group(self, group: str, name: str) -> Group:
        groups = self.groups if self._wanted(group.split()[0], name) else self._others
        return groups.setdefault(group, Group())

    def _match(self, key: ContentKey, consumer: Any, *, again: bool) -> tuple[Message | None, str]:
        content = self._contents.get(key)
        if content is None:
            return None, "unmatched"
        number = max(content.taken.get(consumer, 0) - content.gone, 0)
        if again and len(content.messages) == 1:
            content.taken[consumer] = content.gone + 1
            return content.messages[0], "matched_by_content"
        if number >= len(content.messages):
            if again:
                return content.messages[-1], "matched_by_order"
            return None, "copies_beyond_published"
        content.taken[consumer] = content.gone + number + 1
        alone = len(content.messages) + content.gone == 1
        return content.messages[number], "matched_by_content" if alone else "matched_by_order"

    def _forget(self, message: Message) -> None:
        content = self._contents.get(message.key) if message.key else None
        if content is None or message.key is None:
            return
        content.messages.pop(0)  # the oldest message is the oldest with its content
        content.gone += 1
        if not content.messages:
            del self._contents[message.key]

    def _rank(self, message: Message) -> None:
        if not self._wanted(message.protocol, message.name):
            return
        self._serial += 1
        self._size(message)
        entry = (message.cost.octets, -self._serial, message)
        if len(self._costliest) < COSTLIEST:
            heapq.heappush(self._costliest, entry)
        else:
            heapq.heappushpop(self._costliest, entry)
