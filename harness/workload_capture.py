"""The traffic of a capture as a workload: what was published, how often, of what size; names made anonymous.

A word of a topic or key becomes letters, as many as it has on average, so that sizes stay right and nothing is told.
Topics with as many words are one flow; where there is one of a word per device, it becomes ``{device}``.
"""

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt.packets import Connack, Connect, Publish
from mqproof.dissectors.overhead.frames import Connection, Segment, Watcher
from mqproof.dissectors.overhead.streams import Seen
from mqproof.dissectors.packets import state as w
from mqproof.harness.workload import Flow, Sizes, Workload

SIZES: Final = 8  # sizes of a flow that are told apart
FLOWS: Final = 40  # further ones are added to those with as many words
DISTINCT: Final = 10_000  # different words in one place of a topic that are told apart
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
SHORTEST: Final = 60.0  # seconds of capture that say how often clients connect again

Shape = tuple[str, str, int, int, bool, bool]  # protocol, exchange, words, qos, retain, persistent


class NoTraffic(ValueError):
    """The capture has no message that a client published."""


@dataclass(slots=True)
class _Seen:
    """What one flow was seen to do."""

    count: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    properties: int = 0
    words: list[set[str]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)  # sums, octets


@dataclass(slots=True)
class _Coming:
    """An AMQP message whose header and body are still coming."""

    method: amqp.Method
    header: amqp.ContentHeader | None = None
    header_size: int = 0
    size: int = 0


@dataclass(slots=True)
class Profile(Watcher):
    """Watches who publishes what."""

    flows: dict[Shape, _Seen] = field(default_factory=dict)
    delivered: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    publishers: set[str] = field(default_factory=set)
    consumers: set[str] = field(default_factory=set)
    keep_alives: list[int] = field(default_factory=list)
    connects: int = 0
    clients: set[str] = field(default_factory=set)
    first: int = 0
    last: int = 0
    _names: dict[Connection, str] = field(default_factory=dict)
    _coming: dict[tuple[Connection, int, int], _Coming] = field(default_factory=dict)
    _confirms: set[tuple[Connection, int]] = field(default_factory=set)

    def segment(self, connection: Connection, seen: Segment) -> None:
        """Note how long the capture is."""
        self.first = self.first or seen.time
        self.last = max(self.last, seen.time)

    def frame(self, connection: Connection, side: int, seen: Seen) -> None:
        """Take what says something about the traffic."""
        match seen.frame:
            case Connect():
                self._names[connection] = seen.frame.client_id or f"connection {connection.number}"
                self.keep_alives.append(seen.frame.keep_alive)
            case Connack():
                self.connects += 1
                self.clients.add(self._name(connection))
            case Publish():
                self._mqtt(connection, side, seen, seen.frame)
            case amqp.Method() | amqp.ContentHeader() | amqp.Body():
                self._amqp(connection, side, seen, seen.frame)

    def _mqtt(self, connection: Connection, side: int, seen: Seen, packet: Publish) -> None:
        from_client = connection.role(side) != w.ROLE_BROKER
        name = len(packet.topic.encode("utf-8", "surrogatepass"))
        length = seen.size - 1
        fixed = 1 + (length > 128) + (length > 16_385) + (length > 2_097_154)
        properties = length - fixed - 2 - name - (2 if packet.qos else 0) - seen.payload
        qos = packet.qos
        shape = ("mqtt", "", packet.topic.count("/") + 1, qos, packet.retain and from_client, False)
        self._note(connection, shape, packet.topic, seen.payload, max(0, properties - 1), from_client=from_client)

    def _amqp(self, connection: Connection, side: int, seen: Seen, frame: Any) -> None:
        key = (connection, side, frame.channel)
        if isinstance(frame, amqp.Method):
            if frame.name in ("basic.publish", "basic.deliver", "basic.get-ok"):
                self._coming[key] = _Coming(frame)
            elif frame.name == "confirm.select":
                self._confirms.add((connection, frame.channel))
            elif frame.name == "connection.tune-ok":
                self.keep_alives.append(int(frame.arguments["heartbeat"]))
                self.connects += 1
                self.clients.add(self._name(connection))
            return
        coming = self._coming.get(key)
        if coming is None:
            return
        if isinstance(frame, amqp.ContentHeader):
            coming.header, coming.header_size = frame, seen.size
        else:
            coming.size += seen.payload
        if coming.header is not None and coming.size >= coming.header.body_size:
            del self._coming[key]
            self._amqp_message(connection, coming, coming.header)

    def _amqp_message(self, connection: Connection, coming: _Coming, header: amqp.ContentHeader) -> None:
        arguments = coming.method.arguments
        from_client = coming.method.name == "basic.publish"
        confirmed = (connection, coming.method.channel) in self._confirms
        persistent = header.properties.get("delivery_mode") == 2  # AMQP basic class, delivery-mode
        exchange, key = str(arguments["exchange"]), str(arguments["routing_key"])
        shape = ("amqp", exchange, key.count(".") + 1, int(confirmed), False, persistent)
        properties = coming.header_size - 22  # frame, class, weight, size and flags: section 4.2.6.1
        self._note(connection, shape, key, coming.size, properties, from_client=from_client)

    def _note(
        self, connection: Connection, shape: Shape, topic: str, size: int, properties: int, *, from_client: bool
    ) -> None:
        if not from_client:
            self.consumers.add(self._name(connection))
            self.delivered[shape[:3]] += 1
            return
        self.publishers.add(self._name(connection))
        if shape not in self.flows and len(self.flows) >= FLOWS:
            shape = (shape[0], "", shape[2], shape[3], False, False)
        seen = self.flows.setdefault(shape, _Seen())
        seen.count += 1
        seen.sizes[size] += 1
        seen.properties += properties
        words = topic.split("." if shape[0] == "amqp" else "/")
        seen.words = seen.words or [set() for _ in words]
        seen.lengths = seen.lengths or [0 for _ in words]
        for place, word in enumerate(words):
            seen.lengths[place] += len(word.encode("utf-8", "surrogatepass"))
            if len(seen.words[place]) <= DISTINCT:
                seen.words[place].add(word)

    def _name(self, connection: Connection) -> str:
        return self._names.get(connection) or f"{connection.file} {connection.number}"

    def workload(self, title: str) -> Workload:
        """Return the workload. Raises NoTraffic."""
        if not self.flows:
            raise NoTraffic("no message of a client is in the capture: there is no traffic to write down")
        seconds = max((self.last - self.first) / 1e9, 0.001)
        devices = max(1, len(self.publishers))
        protocols = {shape[0] for shape in self.flows}
        again = max(0, self.connects - len(self.clients)) / max(1, len(self.clients)) if seconds >= SHORTEST else 0.0
        published: Counter[tuple[str, str, int]] = Counter()
        for shape, seen in self.flows.items():
            published[shape[:3]] += seen.count
        copies = {route: self.delivered[route] / count for route, count in published.items()}
        flows = sorted(self.flows.items(), key=lambda pair: -pair[1].count)
        return Workload(
            title=title,
            flows=tuple(
                _flow(number, shape, seen, seen.count / seconds / devices, copies[shape[:3]], devices)
                for number, (shape, seen) in enumerate(flows, 1)
            ),
            protocol=protocols.pop() if len(protocols) == 1 else "any",
            devices=devices,
            consumers=len(self.consumers),
            keep_alive=int(statistics.median(self.keep_alives)) if self.keep_alives else 60,
            reconnects_per_day=round(again * 86_400 / seconds, 3),
        )


def _flow(number: int, shape: Shape, seen: _Seen, rate: float, copies: float, devices: int) -> Flow:
    protocol, exchange, _, qos, retain, persistent = shape
    return Flow(
        name=f"{protocol}-{number}",
        topic=_anonymous(seen, devices, number) or "a",
        rate=float(f"{rate:.6g}"),
        payload=_sizes(seen.sizes),
        qos=qos,
        exchange=exchange if not exchange or exchange.startswith("amq.") else LETTERS[number % 26] * len(exchange),
        properties=round(seen.properties / seen.count),
        retain=retain,
        persistent=persistent,
        subscribers=round(copies, 3),
    )


def _anonymous(seen: _Seen, devices: int, number: int) -> str:
    """Return a topic of the same lengths; the word that there is one of per device becomes {device}."""
    lengths = [round(total / seen.count) for total in seen.lengths]
    letters = [LETTERS[(number - 1 + place) % 26] * length for place, length in enumerate(lengths)]
    if devices > 1 and max(map(len, seen.words)) == devices:
        letters[max(range(len(letters)), key=lambda place: len(seen.words[place]))] = "{device}"
    return "/".join(letters)


def _sizes(counts: Counter[int]) -> Sizes:
    """Return sizes with their shares: all of them, or the means of as many parts of equal count."""
    total = sum(counts.values())
    if len(counts) <= SIZES:
        return tuple((size, count / total) for size, count in sorted(counts.items()))
    parts: list[tuple[int, float]] = []
    taken = octets = done = 0
    for size, count in sorted(counts.items()):
        taken += count
        octets += size * count
        if (done + taken) * SIZES >= total * (len(parts) + 1):
            parts.append((round(octets / taken), taken / total))
            done, taken, octets = done + taken, 0, 0
    if taken:
        parts.append((round(octets / taken), taken / total))
    return tuple(parts)


def from_account(account: dict[str, Any], title: str) -> Workload:
    """Return what an account (``mqproof analyze --json``) says of the traffic: means, one device. Raises NoTraffic."""
    seconds = max(float(account["duration_s"]), 0.001)
    flows = []
    for protocol, rows in account["messages"].items():
        for name, row in rows.items():
            if row["published"] and (name != "all" or protocol == "amqp"):
                hops = row["published"] + row["delivered"] + row["direction_unknown"]
                flows.append(
                    Flow(
                        name=f"{protocol}-{name}",
                        topic="a" * (_mean_name(account, protocol) or 1),
                        rate=float(f"{row['published'] / seconds:.6g}"),
                        payload=((round(row["payload"] / hops), 1.0),),
                        qos=int(name[-1]) if name.startswith("qos") else 1,
                        subscribers=round(row["delivered"] / row["published"], 3),
                    )
                )
    if not flows:
        raise NoTraffic("the account has no published message: there is nothing to forecast from")
    return Workload(title=title, flows=tuple(flows))


def _mean_name(account: dict[str, Any], protocol: str) -> int:
    """Return the mean octets of topics or routing keys, as far as the account shows them."""
    table, name = ("topics", "topic") if protocol == "mqtt" else ("routing_keys", "routing_key")
    rows = [(len(row[name].encode()), row["published"]) for row in account[table]["top"]]
    count = sum(published for _, published in rows)
    return round(sum(length * published for length, published in rows) / count) if count else 0
