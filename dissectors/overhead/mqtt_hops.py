"""Following MQTT messages: PUBLISH and what acknowledges it, over the connections of a Session.

Section numbers are those of MQTT 5.0. Packet identifiers of the two directions have nothing to do with each other
(section 2.2.1); a handshake that a connection's end broke off may be resumed on the client's next one (section 4.4).
"""

import hashlib
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from mqproof.dissectors.mqtt.packets import (
    Acknowledgement,
    Connack,
    Connect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
)
from mqproof.dissectors.overhead.frames import Connection
from mqproof.dissectors.overhead.hops import NAME, ContentKey, Hop, Messages, Notice, content_key
from mqproof.dissectors.overhead.streams import Seen
from mqproof.dissectors.packets import state as w

SESSIONS: Final = 10_000  # client identifiers that are remembered
SENT: Final = 4_096  # packet identifiers of a Session and direction whose last message is remembered
REFUSED: Final = 0x80  # section 2.4: reason codes from here on are failures


@dataclass(eq=False, slots=True)
class Session:
    """A client's open handshakes by sender's side (0 the client's), and what was sent under each identifier last."""

    open: tuple[dict[int, Hop], dict[int, Hop]] = field(default_factory=lambda: ({}, {}))
    sent: tuple[dict[int, tuple[bytes, int]], dict[int, tuple[bytes, int]]] = field(
        default_factory=lambda: ({}, {})
    )
    whole: bool = False  # the capture shows all of it, from its first connection on
    shared: bool = False  # it has shared subscriptions


@dataclass(eq=False, slots=True)
class _Link:
    """What is known of one connection."""

    session: Session = field(default_factory=Session)
    connect: Connect | None = None
    aliases: tuple[dict[int, str], dict[int, str]] = field(default_factory=lambda: ({}, {}))


class MqttHops:
    """Turns MQTT packets into hops."""

    def __init__(self, messages: Messages, notice: Notice) -> None:
        self._messages = messages
        self._notice = notice
        self._links: dict[Connection, _Link] = {}
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._nameless: deque[Session] = deque(maxlen=SESSIONS)  # their CONNECT was not seen, or not yet

    def packet(self, connection: Connection, side: int, seen: Seen) -> Hop | None:
        """Take a packet; return the hop that it belongs to."""
        link = self._links.get(connection)
        if link is None:
            link = self._links[connection] = _Link()
            self._nameless.append(link.session)
        match seen.frame:
            case Connect():
                link.connect = seen.frame
            case Connack():
                self._connected(connection, link, seen.frame)
            case Subscribe():
                shared = any(entry.filter.startswith("$share/") for entry in seen.frame.subscriptions)
                link.session.shared = link.session.shared or shared
            case Publish():
                return self._publish(connection, link, side, seen, seen.frame)
            case Puback() | Pubrec() | Pubrel() | Pubcomp():
                return self._handshake(connection, link, side, seen, seen.frame)
        return None

    def ended(self, connection: Connection) -> None:
        """The connection is over: what is open stays so until the client comes back."""
        link = self._links.pop(connection, None)
        if link is None or not connection.closed:
            return
        for table in link.session.open:
            for hop in table.values():
                hop.broken = True
        waiting = [hop.packet for hop in link.session.open[0].values()]
        if waiting and not connection.holes:
            text = f"{len(waiting)} publishes were not acknowledged when the connection ended"
            self._notice(connection, "unconfirmed-publish", waiting, text)

    def unfinished(self) -> None:
        """Count the handshakes that nobody resumed; all connections have ended."""
        sessions = {*self._sessions.values(), *self._nameless}
        for session in sessions:
            self._close(session)

    def _close(self, session: Session) -> None:
        """Nothing that is open will be finished."""
        for table in session.open:
            for hop in table.values():
                hop.group.counts["broken_off" if hop.broken else "open_at_the_end"] += 1
            table.clear()

    def _connected(self, connection: Connection, link: _Link, connack: Connack) -> None:
        """Take up the client's Session, or begin a new one (sections 3.1.2.4 and 3.2.2.1.1)."""
        if link.connect is None or connack.reason_code >= REFUSED or (connack.reason_code and not _is_5(connection)):
            return
        name = link.connect.client_id or f"connection {connection.number}"
        known = self._sessions.pop(name, None)
        if connack.session_present and known is not None:
            known.whole = known.whole and not connection.holes
            link.session = known
        else:
            if known is not None:
                self._close(known)
            link.session.whole = connection.began and not connack.session_present
        self._sessions[name] = link.session
        if len(self._sessions) > SESSIONS:
            _, oldest = self._sessions.popitem(last=False)
            self._close(oldest)

    def _publish(self, connection: Connection, link: _Link, side: int, seen: Seen, packet: Publish) -> Hop | None:
        role = connection.role(side)
        topic = _topic(link, side, packet)
        group = f"mqtt qos{packet.qos}"
        if role == w.ROLE_UNKNOWN or topic is None:
            return self._apart(connection, group, topic, seen)
        sender = 0 if role == w.ROLE_CLIENT else 1
        key = content_key("mqtt", topic, seen.digest, seen.payload)
        repeated = self._known(connection, link.session, sender, seen, packet) if packet.qos else None
        if repeated is not None:
            return repeated
        hop = self._new_hop(connection, link, sender, group, key, seen, packet)
        hop.stage = "PUBLISH"
        hop.add(seen)
        if packet.qos and packet.packet_id is not None:
            link.session.open[sender][packet.packet_id] = hop
        else:
            hop.group.counts["fire_and_forget"] += 1
        return hop

    def _new_hop(
        self, connection: Connection, link: _Link, sender: int, group: str, key: ContentKey, seen: Seen, packet: Publish
    ) -> Hop:
        first = seen.first.number
        if sender == 0:
            return self._messages.publish(group, key, seen, first, seen.payload, connection.file)
        flag = "retained" if packet.retain else "redelivered" if packet.dup else ""
        name = link.connect.client_id if link.connect else ""
        consumer = name or connection.number
        return self._messages.deliver(group, key, seen, first, seen.payload, connection.file, consumer, flag)

    def _apart(self, connection: Connection, group: str, topic: str | None, seen: Seen) -> Hop:
        name = topic[:NAME] if topic is not None else "(topic alias that was set before the capture)"
        hop = self._messages.apart(group, name, seen, seen.first.number, seen.payload, connection.file)
        hop.group.counts["direction_unknown" if topic is not None else "topic_unknown"] += 1
        hop.add(seen)
        return hop

    def _known(self, connection: Connection, session: Session, sender: int, seen: Seen, packet: Publish) -> Hop | None:
        """Return the open hop that this PUBLISH repeats; say what is odd about its identifier (section 2.2.1)."""
        number = packet.packet_id or 0
        what = hashlib.blake2b(seen.digest + packet.topic.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        before, session.sent[sender][number] = session.sent[sender].pop(number, None), (what, seen.first.number)
        if len(session.sent[sender]) > SENT:
            del session.sent[sender][next(iter(session.sent[sender]))]
            session.whole = False  # from here on it is not known any more what was sent before
        hop = session.open[sender].get(number)
        sure = session.whole and not connection.holes
        same = before is not None and (before[0] == what or not packet.topic)
        if packet.dup and sure and not same:
            text = f"PUBLISH with packet identifier {number} and DUP 1, and no earlier copy of it"
            self._notice(connection, "dup-without-earlier-copy", [seen.first.number], text)
        if hop is None:
            return None
        if packet.dup and same:
            hop.add(seen)
            hop.group.counts["repeated"] += 1
            hop.broken = False
            return hop
        if sure and before is not None:
            text = f"packet identifier {number} is used again before its PUBLISH was acknowledged"
            self._notice(connection, "packet-id-reused", [before[1], seen.first.number], text)
        hop.group.counts["broken_off"] += 1
        return None

    def _handshake(
        self, connection: Connection, link: _Link, side: int, seen: Seen, packet: Acknowledgement
    ) -> Hop | None:
        role = connection.role(side)
        if role == w.ROLE_UNKNOWN:
            return None
        speaker = 0 if role == w.ROLE_CLIENT else 1
        sender = speaker if isinstance(packet, Pubrel) else 1 - speaker
        hop = link.session.open[sender].get(packet.packet_id)
        if hop is None:
            return None
        hop.add(seen)
        counts = hop.group.counts
        if hop.broken:
            counts["resumed"] += 1
            hop.broken = False
        ends = isinstance(packet, Puback | Pubcomp) or packet.reason_code >= REFUSED
        if isinstance(packet, Pubrel):
            counts["repeated"] += hop.released
            hop.released = True
        hop.stage = type(packet).__name__.upper()
        if ends:
            del link.session.open[sender][packet.packet_id]
            if packet.reason_code >= REFUSED:
                counts["refused"] += 1
            else:
                hop.acknowledged(seen)
                counts["completed"] += isinstance(packet, Pubcomp)
        return hop


def _topic(link: _Link, side: int, packet: Publish) -> str | None:
    """Return the topic, through the sender's aliases (section 3.3.2.3.4); None for an alias that is not known."""
    alias = next((value for name, value in packet.properties if name == "topic_alias"), None)
    if alias is None:
        return packet.topic
    if packet.topic:
        link.aliases[side][alias] = packet.topic
    return link.aliases[side].get(alias)


def _is_5(connection: Connection) -> bool:
    return int(connection.speech.version or 0) == 5
