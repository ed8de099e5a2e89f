"""Things worth a look in a capture, each with the packets that show it.

Nothing is said that the capture does not show: where octets are missing, or the beginning of a connection or Session,
what depends on them is not reported.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from mqproof.dissectors.amqp.codec import Method
from mqproof.dissectors.mqtt.packets import Connack, Connect
from mqproof.dissectors.overhead.frames import Connection, Segment, Watcher
from mqproof.dissectors.overhead.streams import Broken, Seen
from mqproof.dissectors.packets.tcp import ACK, FIN, RST, SYN

SHOWN: Final = 10  # packets of one finding
MOST: Final = 1000  # findings of one analysis
TINY: Final = 64  # octets of data; with Ethernet's, IP's and TCP's headers less than half of the packet
TINY_RUN: Final = 10  # segments
BACK_TO_BACK: Final = 1_000_000  # ns
DELAYED: Final = 35_000_000  # ns; Linux delays an acknowledgement by at least 40 ms, others by up to 200 ms
PROMPT: Final = 2_000_000  # ns after the acknowledgement: what was held back goes out
STALLS: Final = 2  # one may be chance

SAYS: Final = {
    "malformed": "octets that the protocol does not allow",
    "dup-without-earlier-copy": "MQTT 5.0 section 3.3.1.1: DUP 1 says that this may be sent again",
    "packet-id-reused": "MQTT 5.0 section 2.2.1: an identifier is free again when its handshake is complete",
    "unconfirmed-publish": "the publisher does not know whether the broker has the message",
    "keep-alive-missed": "MQTT 5.0 section 3.1.2.10, AMQP section 4.2.7: the other side may close the connection",
    "tiny-segments": "data that would have gone into one packet went into many: each has 40 octets of headers or more",
    "nagle-delayed-ack": "data waited for an acknowledgement that the other side delayed (Nagle's algorithm, RFC 896): "
    "set TCP_NODELAY, or write whole messages at once",
}


@dataclass(slots=True)
class Finding:
    """One kind of thing on one connection."""

    kind: str
    file: str
    connection: str
    text: str
    count: int = 0
    packets: list[int] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as the JSON contract has it."""
        return {
            "kind": self.kind, "file": self.file, "connection": self.connection, "count": self.count,
            "packets": self.packets, "text": self.text, "means": SAYS[self.kind],
        }  # fmt: skip


@dataclass(slots=True)
class _Side:
    """What is remembered of one direction's segments."""

    spoke: int = 0  # ns, the last data
    spoke_packet: int = 0
    outstanding: bool = False  # the last data is not acknowledged yet
    acknowledged: int = 0  # ns, when a bare ACK came that had been delayed; 0 for none
    waited: int = 0  # ns, for that
    stalls: list[int] = field(default_factory=list)
    stall_count: int = 0
    stalled: int = 0  # ns in all
    small: list[int] = field(default_factory=list)
    small_count: int = 0
    tiny: list[int] = field(default_factory=list)
    tiny_count: int = 0
    last_was_tiny: bool = False


@dataclass(slots=True)
class _Life:
    """What is remembered of a connection."""

    sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))
    limits: list[int] = field(default_factory=lambda: [0, 0])  # ns of silence that break the agreement; 0 for none
    keep_alive: int = 0  # seconds
    over: bool = False


class Findings(Watcher):
    """Collects findings; :meth:`note` is for those of others."""

    def __init__(self) -> None:
        self.dropped = 0
        self._found: dict[tuple[str, str, int, int], Finding] = {}
        self._lives: dict[Connection, _Life] = {}

    def note(
        self, connection: Connection, kind: str, packets: list[int], text: str, count: int = 1, side: int = -1
    ) -> None:
        """Take a finding; several of a kind on a connection (and side, where it is about one) become one."""
        key = (kind, connection.file, connection.number, side)
        finding = self._found.get(key)
        if finding is None:
            if len(self._found) >= MOST:
                self.dropped += 1
                return
            names = " and ".join(connection.ends)
            finding = self._found[key] = Finding(kind, connection.file, names, text)
        finding.count += count
        finding.packets += packets[: max(0, SHOWN - len(finding.packets))]

    def as_json(self) -> list[dict[str, Any]]:
        """Return all findings, those with the earliest packets first."""
        return [each.as_json() for each in sorted(self._found.values(), key=lambda found: (found.file, found.packets))]

    def broken(self, connection: Connection, side: int, found: Broken) -> None:
        """Octets that the protocol does not allow."""
        if connection.holes:
            return
        text = f"{found.error.detail}, at octet {found.error.offset} of the frame ({found.error.rule})"
        text = f"{connection.ends[side]} sent {text}"
        self.note(connection, "malformed", [found.carrier.number], text, side=side)

    def frame(self, connection: Connection, side: int, seen: Seen) -> None:
        """Learn what was agreed about signs of life."""
        life = self._life(connection)
        match seen.frame:
            case Connect():
                self._agree(life, side, seen.frame.keep_alive)
            case Connack():
                given = dict(seen.frame.properties).get("server_keep_alive")  # MQTT 5.0 section 3.2.2.3.14
                if given is not None:
                    self._agree(life, 1 - side, int(str(given)))
            case Method(_, "connection.tune-ok"):
                life.keep_alive = int(seen.frame.arguments["heartbeat"])
                life.limits = [2 * life.keep_alive * 10**9] * 2  # AMQP section 4.2.7: two intervals without an octet
            case Method(_, "connection.close-ok"):
                life.over = True

    def _agree(self, life: _Life, client: int, seconds: int) -> None:
        """MQTT 5.0 section 3.1.2.10: one and a half times the keep-alive without a packet of the client."""
        life.keep_alive = seconds
        life.limits = [0, 0]
        life.limits[client] = seconds * 3 * 10**9 // 2

    def segment(self, connection: Connection, seen: Segment) -> None:
        """Look at the rhythm of a connection that speaks AMQP or MQTT."""
        if not connection.protocol:
            return
        life = self._life(connection)
        mine, peer = life.sides[seen.side], life.sides[1 - seen.side]
        if seen.length:
            self._silence(connection, life, seen.side, seen.time, seen.number)
            if not seen.repeated and not seen.early:
                self._rhythm(mine, peer, seen)
            mine.spoke, mine.spoke_packet, mine.outstanding = seen.time, seen.number, True
            peer.outstanding, peer.acknowledged = False, 0  # what follows may answer this data
        elif seen.flags & (SYN | FIN | RST | ACK) == ACK and peer.outstanding:
            waited = seen.time - peer.spoke
            peer.outstanding = False
            if waited >= DELAYED:
                peer.acknowledged, peer.waited = seen.time, waited
        if seen.flags & RST:
            life.over = True

    def _rhythm(self, mine: _Side, peer: _Side, seen: Segment) -> None:
        """Count data that waited for a delayed acknowledgement, and segments that could have been one."""
        if mine.acknowledged and 0 <= seen.time - mine.acknowledged <= PROMPT:
            mine.stall_count += 1
            mine.stalled += mine.waited
            mine.stalls += [mine.spoke_packet, seen.number] if len(mine.stalls) < SHOWN else []
        mine.acknowledged = 0
        tiny = seen.length < TINY
        follows = mine.outstanding and mine.last_was_tiny and 0 <= seen.time - mine.spoke <= BACK_TO_BACK
        if tiny and follows:
            mine.tiny_count += 1
            mine.tiny += [seen.number] if len(mine.tiny) < SHOWN else []
        mine.last_was_tiny = tiny
        peer.last_was_tiny = False

    def ended(self, connection: Connection, time: int) -> None:
        """Say what was collected on the connection."""
        life = self._lives.pop(connection, None)
        if life is None:
            return
        for side, each in enumerate(life.sides):
            if not life.over:
                self._silence(connection, life, side, time, each.spoke_packet)
            if each.stall_count >= STALLS:
                waited = f"{each.stalled / 1e6:.0f} ms in all"
                text = f"{connection.ends[side]} held data back {each.stall_count} times until an ACK came, {waited}"
                self.note(connection, "nagle-delayed-ack", each.stalls, text, each.stall_count, side)
            if each.tiny_count >= TINY_RUN:
                what = f"{each.tiny_count} segments of less than {TINY} octets, each right after another"
                text = f"{connection.ends[side]} sent {what}"
                self.note(connection, "tiny-segments", each.tiny, text, each.tiny_count, side)

    def _silence(self, connection: Connection, life: _Life, side: int, time: int, packet: int) -> None:
        """Compare the time since a side's last data with what was agreed."""
        limit, mine = life.limits[side], life.sides[side]
        if not limit or not mine.spoke or connection.holes or time - mine.spoke <= limit:
            return
        silent = f"silent for {(time - mine.spoke) / 1e9:.1f} s, the keep-alive is {life.keep_alive} s"
        packets = sorted({mine.spoke_packet, packet})
        self.note(connection, "keep-alive-missed", packets, f"{connection.ends[side]} was {silent}", side=side)

    def _life(self, connection: Connection) -> _Life:
        life = self._lives.get(connection)
        if life is None:
            life = self._lives[connection] = _Life()
        return life
