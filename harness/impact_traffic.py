"""What an application said on the wire, frame by frame, each with the number of the packet that it begins in.

Reads single packets, so that a use can be shown in Wireshark; the byte account, which must be fast, is made elsewhere.
A capture is untrusted: what cannot be followed is counted, never guessed.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mqproof.dissectors.amqp.codec import Decoder as AmqpDecoder
from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt.codec import Decoder as MqttDecoder
from mqproof.dissectors.packets.opening import Opener
from mqproof.dissectors.packets.pcap import Packet, read_packets
from mqproof.dissectors.packets.tcp import RST, SYN, distance

MAX_EARLY: Final = 256  # segments kept while one before them is missing
UNDECIDED: Final = 16  # octets after which a connection that looks like neither protocol is none


@dataclass(frozen=True, slots=True)
class Said:
    """One frame or packet of the protocol: who said it, on which connection, and where it begins in the capture."""

    number: int  # of the packet in the file, from 1, as Wireshark counts
    connection: int
    protocol: str
    from_client: bool
    frame: Any
    octets: int
    version: str = ""  # of the statements, for MQTT: mqtt-3.1.1 or mqtt-5.0


@dataclass(slots=True)
class _Half:
    """One direction of a connection: its octets in order, and where each packet's octets begin."""

    next: int | None = None  # sequence number
    early: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    marks: deque[tuple[int, int]] = field(default_factory=deque)  # offset in the stream, packet's number
    received: int = 0
    decoded: int = 0
    decoder: Any = None
    is_lost: bool = False

    def ordered(self, sequence: int, data: bytes, number: int) -> Iterator[tuple[int, bytes]]:
        """Yield what is next in the stream, with the packets that it came in."""
        if self.next is None:
            self.next = sequence
        at = distance(sequence, self.next)
        if at > 0:
            self.early.setdefault(sequence, (number, data))
            self.is_lost = len(self.early) > MAX_EARLY
            return
        pending: list[tuple[int, bytes]] = [(number, data[-at:])] if -at < len(data) else []
        while pending:
            number, data = pending.pop()
            self.next = (self.next + len(data)) & 0xFFFFFFFF
            yield number, data
            for sequence in sorted(self.early, key=lambda one: distance(one, self.next or 0)):
                behind = distance(self.next, sequence)
                if behind < 0:
                    break
                number, data = self.early.pop(sequence)
                if behind < len(data):
                    pending.append((number, data[behind:]))
                    break

    def frames(self, number: int, data: bytes) -> Iterator[tuple[int, Any, int]]:
        """Yield the frames that are whole now: packet's number, frame, octets."""
        self.marks.append((self.received, number))
        self.received += len(data)
        self.decoder.feed(data)
        while (frame := self.decoder.next()) is not None:
            size = len(self.decoder.last_frame_octets)
            while len(self.marks) > 1 and self.marks[1][0] <= self.decoded:
                self.marks.popleft()
            yield self.marks[0][1], frame, size
            self.decoded += size


@dataclass(slots=True)
class _Connection:
    number: int
    halves: tuple[_Half, _Half] = field(default_factory=lambda: (_Half(), _Half()))
    client: int | None = None  # which half
    protocol: str = ""  # empty until the client has said enough; "other" for what is neither
    waiting: list[tuple[int, int, bytes]] = field(default_factory=list)
    opened: bytes = b""


class Traffic:
    """Iterates over what was said in a capture. ``left_out`` counts, by reason, what could not be looked at."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.packets = 0
        self.left_out: Counter[str] = Counter()
        self._open: dict[tuple[bytes, bytes], _Connection] = {}
        self._opener = Opener()
        self._connections = 0

    def __iter__(self) -> Iterator[Said]:
        """Yield frame by frame. Raises CaptureError."""
        for packet in read_packets(self.path):
            self.packets += 1
            yield from self._packet(packet)

    def _packet(self, packet: Packet) -> Iterator[Said]:
        found = self._segment(packet)
        if found is None:
            return
        key, side, sequence, flags, data = found
        if flags & SYN or key not in self._open:
            self._begin(key, side, flags)
        connection = self._open[key]
        half = connection.halves[side]
        if flags & SYN:
            half.next = (sequence + 1) & 0xFFFFFFFF
            return
        if flags & RST or not data or half.is_lost or connection.protocol == "other":
            return
        for number, octets in half.ordered(sequence, data, self.packets):
            yield from self._octets(connection, side, number, octets)
        if half.is_lost:
            self.left_out["streams with a hole: looked at up to it"] += 1

    def _begin(self, key: tuple[bytes, bytes], side: int, flags: int) -> None:
        """Begin a connection, except at the answer to the SYN that began it."""
        if key in self._open and self._open[key].halves[side].next is None:
            return
        self._connections += 1
        self._open[key] = _Connection(self._connections)

    def _octets(self, connection: _Connection, side: int, number: int, octets: bytes) -> Iterator[Said]:
        if not connection.protocol:
            connection.waiting.append((side, number, octets))
            self._recognise(connection)
            if not connection.protocol:
                return
            waiting, connection.waiting = connection.waiting, []
        else:
            waiting = [(side, number, octets)]
        if connection.protocol == "other":
            return
        for which, begins, data in waiting:
            yield from self._said(connection, which, begins, data)

    def _recognise(self, connection: _Connection) -> None:
        """Tell the protocol by the first octets of the half that speaks first, which is the client."""
        side = connection.waiting[0][0]
        first = b"".join(data for which, _, data in connection.waiting if which == side)
        connection.client = side
        if first.startswith(b"AMQP"):
            connection.protocol = "amqp"
        elif first[:1] == b"\x10" and b"MQ" in first[2:9]:
            connection.protocol = "mqtt"
        elif first[:2] == b"\x16\x03":
            connection.protocol = "other"
            self.left_out["connections with TLS: not decrypted"] += 1
        elif first.startswith(b"GET "):
            connection.protocol = "other"
            self.left_out["WebSocket or HTTP connections: not decoded"] += 1
        elif len(first) >= UNDECIDED or (not b"AMQP".startswith(first[:4]) and first[:1] != b"\x10"):
            connection.protocol = "other"
            self.left_out["connections that began before the capture, or of another protocol"] += 1
        for half in connection.halves if connection.protocol in ("amqp", "mqtt") else ():
            half.decoder = AmqpDecoder() if connection.protocol == "amqp" else MqttDecoder()

    def _said(self, connection: _Connection, side: int, number: int, octets: bytes) -> Iterator[Said]:
        half, is_client = connection.halves[side], side == connection.client
        try:
            for begins, frame, size in half.frames(number, octets):
                version = ""
                if connection.protocol == "mqtt":
                    connection.halves[1 - side].decoder.version = half.decoder.version
                    version = "mqtt-5.0" if half.decoder.version == 5 else "mqtt-3.1.1"
                yield Said(begins, connection.number, connection.protocol, is_client, frame, size, version)
        except Malformed:
            half.is_lost = True
            self.left_out["streams with something malformed: looked at up to it"] += 1

    def _segment(self, packet: Packet) -> tuple[tuple[bytes, bytes], int, int, int, bytes] | None:
        """Return connection, half, sequence number, flags and payload of a TCP segment."""
        found = self._opener.tcp(packet)
        if found is None:
            return None
        key, side = min((found.source, found.sink), (found.sink, found.source)), int(found.source > found.sink)
        return key, side, found.sequence, found.flags, found.octets
