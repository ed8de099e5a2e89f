"""Ours and tshark's counts of a capture side by side; where they differ, whether a known fault of tshark explains it.

What tshark 4.0 was found to do, on captures whose contents are known from what was sent:

* when an MQTT remaining length straddles two segments it loses that direction of the stream;
* when the broker's first AMQP frame comes in several segments it loses the connection, both directions;
* of a malformed packet it counts what the first octet says, where here it is undecoded;
* when a segment that came early comes again with other boundaries it loses the stream;
* it does not find its way into streams that the capture shows from the inside of a frame on, or that have holes;
* it shows what is in WebSocket frames as data, whether the handshake names the subprotocol or not;
* it goes by ports (here it is told which), so two protocols on one port cannot both be right.

A difference counts as explained only where the circumstance is in the capture: the slow reading looks for it.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mqproof.dissectors.amqp.codec import Method
from mqproof.dissectors.mqtt.fields import encode_varint
from mqproof.dissectors.overhead.frames import Connection, Follower, Segment, Watcher
from mqproof.dissectors.overhead.streams import Broken, Seen
from mqproof.dissectors.packets.pcap import read_packets
from mqproof.dissectors.packets.tcp import distance
from mqproof.harness import oracle

STRADDLED: Final = "{} remaining lengths straddle two segments: tshark loses an MQTT stream there"
SPLIT: Final = "in {} connections the broker's first frame comes in several segments: tshark loses an AMQP stream there"
OVERLAPS: Final = "{} connections have early segments that come again with other boundaries: tshark loses those"
LATE: Final = "{} connections began before the capture: tshark finds no way in where that is inside a frame"
HOLES: Final = "{} connections have holes: tshark does not find its way on behind them"
WEBSOCKETS: Final = "{} connections are WebSockets: tshark shows the packets in their frames as data"
MALFORMED: Final = (
    "{} frames are malformed: tshark counts them by their first octet, here they are undecoded"
)
EARLY: Final = 64  # segments that came early and are remembered, of each direction
FIRST: Final = "connection.start"
PORTS: Final = "AMQP and MQTT on the same port: tshark decodes by port"

Range = tuple[int, int]  # sequence numbers


@dataclass(frozen=True, slots=True)
class Row:
    """One kind. ``why`` is empty where both agree, or where nothing explains the difference."""

    protocol: str
    kind: str
    ours: int
    theirs: int
    why: str = ""

    @property
    def agrees(self) -> bool:
        """Whether both count the same."""
        return self.ours == self.theirs


@dataclass(slots=True)
class Circumstances(Watcher):
    """What in a capture tshark is known to stumble over, by protocol."""

    ports: dict[int, str] = field(default_factory=dict)
    mixed_ports: set[int] = field(default_factory=set)
    straddled: int = 0
    split: int = 0
    websockets: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    overlaps: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    holes: Counter[str] = field(default_factory=Counter)
    _early: dict[Connection, tuple[deque[Range], deque[Range]]] = field(default_factory=dict)
    _overlapped: set[Connection] = field(default_factory=set)

    def segment(self, connection: Connection, seen: Segment) -> None:
        """Remember segments that came early, and look whether others overlap them in part."""
        if not seen.length:
            return
        early = self._early.setdefault(connection, (deque(maxlen=EARLY), deque(maxlen=EARLY)))[seen.side]
        mine = seen.sequence, seen.sequence + seen.length
        if any(one != mine and _overlap(one, mine) for one in early):
            self._overlapped.add(connection)
        if seen.early:
            early.append(mine)

    def frame(self, connection: Connection, side: int, seen: Seen) -> None:
        """Look where a segment ends: inside the fixed header of MQTT, or inside AMQP's connection.start."""
        self.split += isinstance(seen.frame, Method) and seen.frame.name == FIRST and len(seen.spans) > 1
        if connection.protocol == "mqtt" and len(seen.spans) > 1:
            self.straddled += seen.spans[0][1] < 1 + _varint_size(seen.size)

    def broken(self, connection: Connection, side: int, found: Broken) -> None:
        """Count what the protocol does not allow."""
        self.malformed[connection.protocol] += 1

    def ended(self, connection: Connection, time: int) -> None:
        """Note what is to know about a connection."""
        self._early.pop(connection, None)
        if not connection.protocol:
            return
        self.late[connection.protocol] += not connection.began
        self.holes[connection.protocol] += connection.holes
        self.overlaps[connection.protocol] += connection in self._overlapped
        self.websockets[connection.protocol] += connection.wrappers is not None
        server = connection.ends[1 - connection.client] if connection.client >= 0 else connection.ends[1]
        port = int(server.rpartition(":")[2])
        if self.ports.setdefault(port, connection.protocol) != connection.protocol:
            self.mixed_ports.add(port)

    def why(self, protocol: str) -> str:
        """Return what explains a difference in this protocol, empty for nothing."""
        reasons = []
        if protocol == "mqtt" and self.straddled:
            reasons.append(STRADDLED.format(self.straddled))
        if protocol == "amqp" and self.split:
            reasons.append(SPLIT.format(self.split))
        if self.malformed[protocol]:
            reasons.append(MALFORMED.format(self.malformed[protocol]))
        if self.overlaps[protocol]:
            reasons.append(OVERLAPS.format(self.overlaps[protocol]))
        if self.late[protocol]:
            reasons.append(LATE.format(self.late[protocol]))
        if self.holes[protocol]:
            reasons.append(HOLES.format(self.holes[protocol]))
        if self.websockets[protocol]:
            reasons.append(WEBSOCKETS.format(self.websockets[protocol]))
        if self.mixed_ports:
            reasons.append(PORTS)
        return "; ".join(reasons)


def check(
    path: str, kinds: Mapping[str, Mapping[str, Mapping[str, int]]], decode_as: Mapping[int, int] | None = None
) -> list[Row]:
    """Return ours and tshark's counts of a capture; ``kinds``: those of the account, ``decode_as``: what it was told.

    Raises OracleMissing.
    """
    seen = Circumstances()
    Follower((seen,), decode_as=decode_as).file(read_packets(path))
    theirs = oracle.counts(path, seen.ports)
    rows = []
    for protocol in ("amqp", "mqtt"):
        ours = {kind: row["count"] for kind, row in kinds[protocol].items()}
        for kind in sorted((ours.keys() | theirs[protocol].keys()) - oracle.NOT_COUNTED):
            mine, other = ours.get(kind, 0), theirs[protocol].get(kind, 0)
            rows.append(Row(protocol, kind, mine, other, "" if mine == other else seen.why(protocol)))
    return rows


def _overlap(one: Range, other: Range) -> bool:
    return distance(one[0], other[1]) < 0 and distance(other[0], one[1]) < 0


def _varint_size(packet: int) -> int:
    """Return the octets of the remaining length of a packet of so many octets (MQTT 5.0 section 1.5.5)."""
    return next(size for size in range(1, 5) if len(encode_varint(packet - 1 - size)) == size)
