"""A capture frame by frame, with packet numbers and times, for whoever follows single messages (:class:`Watcher`).

It is made of the same kernels as the walk (links, TCP, recognition), uncompiled, and of the codecs: slower by two
orders of magnitude, and all that is seen is handed on. Packets are numbered from 1 through all files of an analysis
one after the other, as in one file.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.amqp.tables import METHODS
from mqproof.dissectors.mqtt import packets as mqtt_packets
from mqproof.dissectors.mqtt.packets import packet_name
from mqproof.dissectors.overhead import recognition, walk, websocket
from mqproof.dissectors.overhead.engine import tell_ports
from mqproof.dissectors.overhead.streams import Broken, Carrier, Seen, Speech, Stream
from mqproof.dissectors.overhead.unwrapping import Unwrapper
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.links import IPV4
from mqproof.dissectors.packets.octets import high, long, short
from mqproof.dissectors.packets.opening import Opener
from mqproof.dissectors.packets.pcap import Packet
from mqproof.dissectors.packets.state import Words
from mqproof.dissectors.packets.tcp import (
    DONE,
    FEED,
    FEED_EARLY,
    SKIP,
    direction,
    find_connection,
    proceed,
    reborn,
    segment,
    unlink,
)

CONNECTIONS: Final = 4096  # followed at the same time; the one that was silent longest gives way
ROOM: Final = 64 << 20  # octets of unfinished frames in all connections
EARLY: Final = 8192  # packets that came before their time and are remembered

INSIDE: Final = {w.OVER_WEBSOCKET: w.PLAIN_MQTT, w.AMQP_OVER_WEBSOCKET: w.PLAIN_AMQP}
CLIENT_ONLY: Final = (mqtt_packets.Connect, mqtt_packets.Subscribe, mqtt_packets.Unsubscribe, mqtt_packets.Pingreq)
BROKER_ONLY: Final = (mqtt_packets.Connack, mqtt_packets.Suback, mqtt_packets.Unsuback, mqtt_packets.Pingresp)


@dataclass(eq=False, slots=True)
class Connection:
    """A TCP connection. Side 0 sent the first packet; ``client`` is the client's side, -1 while that is not known."""

    number: int
    ends: tuple[str, str]
    file: str = ""
    speech: Speech = field(default_factory=Speech)
    client: int = -1
    began: bool = False  # its SYN was seen
    closed: bool = False
    holes: bool = False  # octets are missing
    streams: list[Stream] = field(default_factory=list)
    wrappers: tuple[Unwrapper, Unwrapper] | None = None
    strikes: int = 0
    frames: int = 0

    def wrap(self, side: int) -> None:
        """A client asks to speak in WebSockets, or for a page: what follows goes through wrappers."""
        self.wrappers = (Unwrapper(), Unwrapper())
        self.client = side
        for stream in self.streams:
            stream.started = True

    def unwrapped(self, side: int, octets: bytearray, carrier: Carrier) -> bytearray:
        """Return what is inside; whose it is, the client's first octets in the WebSocket tell, as in the walk."""
        assert self.wrappers is not None
        wrapper = self.wrappers[side]
        inside = bytearray(wrapper.feed(octets, carrier))
        if self.client < 0 and wrapper.masks is not None:
            self.client = side if wrapper.masks else 1 - side
        asks = self.wrappers[self.client]
        if self.speech.protocol == w.UNKNOWN and (inside or asks.upgraded is False or wrapper.is_lost):
            self.speech.protocol = self._spoken(asks, inside) if side == self.client else w.PLAIN_OTHER
            for stream in self.streams:
                stream.begin()
        return inside

    def join(self, verdict: int) -> None:
        """A WebSocket that was opened before the capture: what is inside is looked for, as in the walk."""
        self.wrappers = (Unwrapper(True, is_lost=True), Unwrapper(True, is_lost=True))
        self.speech.protocol = INSIDE[verdict]

    def lose(self, side: int, count: int) -> None:
        """Octets are missing from one side."""
        self.holes = True
        inside = self.wrappers[side].lose(count) if self.wrappers else count
        if self.wrappers and self.speech.protocol == w.UNKNOWN:
            self.speech.protocol = w.PLAIN_OTHER
        elif inside < 0:
            self.streams[side].forget()
        elif inside:
            self.streams[side].lose(inside)

    def _spoken(self, asks: Unwrapper, inside: bytearray) -> int:
        if inside[:1] == b"A" and asks.first >= websocket.PROTOCOL_HEADER:
            return w.PLAIN_AMQP
        begins = inside[:1] == b"\x10" and asks.first >= websocket.SMALLEST_CONNECT
        return w.PLAIN_MQTT if inside and (asks.says_mqtt or begins) else w.PLAIN_OTHER

    @property
    def protocol(self) -> str:
        """``amqp``, ``mqtt`` or nothing."""
        return {w.PLAIN_AMQP: "amqp", w.PLAIN_MQTT: "mqtt"}.get(self.speech.protocol, "")

    def role(self, side: int) -> int:
        """Return who speaks on a side."""
        if self.client < 0:
            return w.ROLE_UNKNOWN
        return w.ROLE_CLIENT if side == self.client else w.ROLE_BROKER


@dataclass(slots=True)
class Segment:
    """A TCP packet. ``time``: ns since 1970; ``length``: octets of data on the wire; ``captured``: of the packet."""

    number: int
    time: int
    captured: int
    side: int
    flags: int
    length: int
    sequence: int
    acknowledged: int
    repeated: bool = False
    early: bool = False


class Watcher:
    """Is told what a capture holds, in the order of the packets that complete it."""

    def segment(self, connection: Connection, seen: Segment) -> None:
        """A TCP packet; the frames that it completes were told before."""

    def frame(self, connection: Connection, side: int, seen: Seen) -> None:
        """A whole frame."""

    def broken(self, connection: Connection, side: int, found: Broken) -> None:
        """Octets that the protocol does not allow."""

    def ended(self, connection: Connection, time: int) -> None:
        """The connection is over, or gives way to others, or the file ends."""


@dataclass(slots=True)
class Reading:
    """What following a capture came to."""

    packets: int = 0
    frames: int = 0
    connections_dropped: int = 0  # for lack of room, while they lived
    frames_too_large: int = 0


class Follower:
    """Reads captures and tells watchers."""

    def __init__(
        self, watchers: Sequence[Watcher], clients: Mapping[tuple[str, int], int] | None = None,
        decode_as: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        """``clients``: the client's side of connections, by file and number, where an earlier reading found it out.

        ``decode_as``: as for the walk (``engine.analyze``).
        """
        self.reading = Reading()
        self._watchers = watchers
        self._clients = clients or {}
        self._decode_as = decode_as or {}
        self._fresh("")

    def _fresh(self, name: str) -> None:
        self._name = name
        self._s: Words = [0] * (w.CONN_TABLE + (CONNECTIONS + 1) * w.CONN_WORDS)
        self._m = bytearray(w.M_DIRECTIONS + (CONNECTIONS + 1) * 2 * w.DIRECTION_OCTETS)
        tell_ports(self._s, self._decode_as)
        self._opener = Opener(self._s, self._m)
        self._connections: OrderedDict[int, Connection] = OrderedDict()
        self._early: OrderedDict[int, Carrier] = OrderedDict()
        self._held = 0

    def file(self, packets: Iterable[Packet | None], name: str = "") -> None:
        """Follow one file's packets; connections do not go on from one file to the next.

        None stands for a packet that is passed over: it counts, so that the others keep their numbers.
        """
        self._fresh(name)
        time = 0
        for packet in packets:
            self._s[w.PACKETS] += 1
            self.reading.packets += 1
            if packet is not None:
                self._packet(packet)
                time = packet.time
        for record in list(self._connections):
            self._end(record, time)

    def _packet(self, packet: Packet) -> None:
        self._s[w.BEST] = w.PURPOSE_COUNT
        buf = self._opener.open(packet)
        if buf is None:
            return
        if len(self._connections) >= CONNECTIONS:
            self._give_way(packet.time)
        self._tcp(buf, packet)

    def _tcp(self, buf: bytearray, packet: Packet) -> None:
        s, m, at = self._s, self._m, self._s[w.L4]
        record = find_connection(buf, s)
        if reborn(buf, record, s):
            self._end(record, packet.time)
            record = find_connection(buf, s)
        connection = self._connection(record, buf)
        header = high(buf, at + 12) * 4
        length = max(0, s[w.L4_END] - at - header)
        seen = Segment(
            s[w.PACKETS], packet.time, s[w.H_OCTETS], s[w.SIDE], buf[at + 13], length, long(buf, at + 4),
            long(buf, at + 8),
        )  # fmt: skip
        have = max(0, min(len(buf), s[w.L4_END]) - at - header)
        carrier = Carrier(seen.number, packet.time, s[w.H_OCTETS] - have, have, s[w.H_PACKETS])
        before = s[w.RETRANSMITTED], s[direction(record, seen.side) + w.D_SLOT_COUNT]
        order = segment(buf, len(buf), record, s, m)
        connection.client = s[record + w.C_CLIENT] if connection.client < 0 else connection.client
        if s[direction(record, seen.side) + w.D_SLOT_COUNT] > before[1]:
            seen.early = True
            self._early[seen.number] = carrier
            if len(self._early) > EARLY:
                self._early.popitem(last=False)
        self._obey(order, buf, record, connection, carrier)
        seen.repeated = s[w.RETRANSMITTED] > before[0]
        for watcher in self._watchers:
            watcher.segment(connection, seen)
        if s[record + w.C_CLOSED] == 3 and not connection.closed:
            connection.closed = True
            self._tell_end(connection, packet.time)

    def _obey(self, order: int, buf: bytearray, record: int, connection: Connection, carrier: Carrier) -> None:
        """Carry out TCP's orders until there are none, as the walk does."""
        s = self._s
        d = s[w.F_DIRECTION]
        side = 0 if d == record + w.CONN_HEAD else 1
        while order != DONE:
            if order == SKIP:
                connection.lose(side, s[w.F_SKIP])
            else:
                if s[d + w.D_LOST]:
                    connection.lose(side, s[d + w.D_LOST])
                    s[d + w.D_LOST] = 0
                if order == FEED:
                    carrier.data = s[w.F_END] - s[w.F_AT]
                    self._feed(record, connection, side, buf[s[w.F_AT] : s[w.F_END]], carrier)
                elif order == FEED_EARLY:
                    octets = self._m[s[w.F_AT] : s[w.F_END]]
                    self._feed(record, connection, side, octets, self._carrier_of_slot(s[w.F_AT]))
            order = proceed(s, d)

    def _carrier_of_slot(self, at: int) -> Carrier:
        """Return the packet from which an early segment came; its slot is free again, and still as it was."""
        slot = w.SLOT_TABLE + (at - w.M_SLOTS) // w.SLOT_OCTETS * w.SLOT_WORDS
        number, size = self._s[slot + w.SLOT_PACKET], self._s[slot + w.SLOT_LENGTH]
        return self._early.get(number) or Carrier(number, self._s[slot + w.SLOT_TIME], 0, size)

    def _feed(self, record: int, connection: Connection, side: int, octets: bytearray, carrier: Carrier) -> None:
        stream = connection.streams[side]
        if not octets or connection.speech.protocol not in (w.UNKNOWN, w.PLAIN_AMQP, w.PLAIN_MQTT):
            return
        if connection.speech.protocol == recognition.decoded_as(record, self._s) == w.UNKNOWN and octets[:4] == b"GET ":
            connection.wrap(side)
        if connection.wrappers:
            octets = connection.unwrapped(side, octets, carrier)
        before = len(stream.held)
        found = stream.feed(octets, carrier) if octets else []
        if connection.speech.protocol == w.UNKNOWN and not connection.wrappers:
            found = self._recognise(record, connection, side)
        for event in found:
            self._tell(connection, side, event)
        if connection.wrappers and connection.wrappers[side].is_lost:
            stream.forget()
        self._held += len(stream.held) - before
        if self._held > ROOM:
            self._held -= len(stream.held)
            stream.forget()

    def _recognise(self, record: int, connection: Connection, side: int) -> list[Seen | Broken]:
        """Find out what a connection speaks, as the walk does."""
        s, stream = self._s, connection.streams[side]
        d = direction(record, side)
        verdict = recognition.judge(stream.held, 0, len(stream.held), record, d, s)
        if verdict == recognition.AGAIN:
            return []
        if verdict == w.UNKNOWN:
            connection.strikes += 1
            verdict = w.PLAIN_OTHER if connection.strikes >= walk.STRIKES else w.UNKNOWN
        if verdict in INSIDE:
            connection.join(verdict)
            pieces = stream.taken()
            return [seen for octets, carrier in pieces for seen in self._inside(connection, side, octets, carrier)]
        connection.speech.protocol = verdict
        for number, each in enumerate(connection.streams):
            each.started = bool(s[direction(record, number) + w.D_STARTED])
            each.begin()
        if not connection.protocol:
            stream.forget()
        return stream.read()

    def _inside(
        self, connection: Connection, side: int, octets: bytearray, carrier: Carrier
    ) -> list[Seen | Broken]:
        return connection.streams[side].feed(connection.unwrapped(side, octets, carrier), carrier)

    def _tell(self, connection: Connection, side: int, event: Seen | Broken) -> None:
        if isinstance(event, Broken):
            for watcher in self._watchers:
                watcher.broken(connection, side, event)
            return
        self.reading.frames += 1
        connection.frames += 1
        if isinstance(event.frame, CLIENT_ONLY):
            connection.client = side
        elif isinstance(event.frame, BROKER_ONLY):
            connection.client = 1 - side
        elif connection.client < 0 and isinstance(event.frame, amqp.Method):
            receivers = METHODS[event.frame.name].received_by
            if len(receivers) == 1:
                connection.client = side if "server" in receivers else 1 - side
        for watcher in self._watchers:
            watcher.frame(connection, side, event)

    def _connection(self, record: int, buf: bytearray) -> Connection:
        """Return what is known of a connection, and make it the last to give way."""
        s = self._s
        connection = self._connections.get(record)
        if connection is None:
            connection = Connection(s[w.CONNS_SEEN], _ends(buf, s), self._name)
            connection.client = self._clients.get((self._name, connection.number), -1)
            connection.streams = [Stream(connection.speech), Stream(connection.speech)]
            self._connections[record] = connection
        self._connections.move_to_end(record)
        connection.began = connection.began or bool(buf[s[w.L4] + 13] & 2)
        return connection

    def _give_way(self, time: int) -> None:
        record, connection = next(iter(self._connections.items()))
        self.reading.connections_dropped += not connection.closed
        self._end(record, time)

    def _end(self, record: int, time: int) -> None:
        """Read what waits behind holes, tell that the connection is over, free its record."""
        s, connection = self._s, self._connections[record]
        for side in range(2):
            d = direction(record, side)
            s[w.F_CONN], s[w.F_DIRECTION], s[w.H_HELD], s[w.F_MISSING] = record, d, 0, 0
            while s[d + w.D_SLOTS] != 0:
                s[d + w.D_FLUSH] = 1
                self._obey(proceed(s, d), self._m, record, connection, Carrier(0, time, 0, 0))
            self._held -= len(connection.streams[side].held)
            self.reading.frames_too_large += connection.streams[side].too_large
        if not connection.closed:
            self._tell_end(connection, time)
        del self._connections[record]
        unlink(record, s)

    def _tell_end(self, connection: Connection, time: int) -> None:
        for watcher in self._watchers:
            watcher.ended(connection, time)


def kind_of(connection: Connection, seen: Seen) -> str:
    """Return the kind of a frame, named as in the account."""
    if connection.protocol == "mqtt":
        return packet_name(seen.frame)  # type: ignore[arg-type]
    name = getattr(seen.frame, "name", None)
    others = {"ContentHeader": "header", "Body": "body", "Heartbeat": "heartbeat", "ProtocolHeader": "protocol-header"}
    return name or others[type(seen.frame).__name__]


def _ends(buf: bytearray, s: Words) -> tuple[str, str]:
    """Return both ends of the packet's connection as host:port, its sender first."""
    at, size = (s[w.L3] + 12, 4) if s[w.ETHERTYPE] == IPV4 else (s[w.L3] + 8, 16)
    hosts = [ipaddress.ip_address(bytes(buf[i : i + size])) for i in (at, at + size)]
    ports = short(buf, s[w.L4]), short(buf, s[w.L4] + 2)
    first, second = (
        f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)
    )
    return (first, second) if s[w.SIDE] == 0 else (second, first)
