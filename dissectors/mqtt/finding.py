"""Kernel: what can begin an MQTT packet, and where one may begin in a stream of which something is missing."""

from mqproof.dissectors.mqtt.tables import PacketType
from mqproof.dissectors.packets.octets import high, short
from mqproof.dissectors.packets.state import Octets

CONNECT = int(PacketType.CONNECT)
CONNACK = int(PacketType.CONNACK)
PUBLISH = int(PacketType.PUBLISH)
PUBACK = int(PacketType.PUBACK)
PUBREC = int(PacketType.PUBREC)
PUBREL = int(PacketType.PUBREL)
PUBCOMP = int(PacketType.PUBCOMP)
SUBSCRIBE = int(PacketType.SUBSCRIBE)
SUBACK = int(PacketType.SUBACK)
UNSUBSCRIBE = int(PacketType.UNSUBSCRIBE)
UNSUBACK = int(PacketType.UNSUBACK)
PINGREQ = int(PacketType.PINGREQ)
PINGRESP = int(PacketType.PINGRESP)
DISCONNECT = int(PacketType.DISCONNECT)
AUTH = int(PacketType.AUTH)

CHAIN = 4  # so many whole packets one after the other are MQTT, wherever they stand


def legal_first(first: int, version: int) -> int:
    """Return whether an octet can begin a packet (section 2.1); ``version`` 0 where it is not known."""
    kind = first // 16
    flags = first & 15
    if kind == 0:
        return 0
    if kind == PUBLISH:
        return 1 if flags & 6 != 6 else 0
    if kind == AUTH and version not in (0, 5):
        return 0
    if kind in (PUBREL, SUBSCRIBE, UNSUBSCRIBE):
        return 1 if flags == 2 or (version in (0, 3) and flags == 10) else 0
    return 1 if flags == 0 else 0


def legal_length(kind: int, length: int, version: int) -> int:
    """Return whether a packet of this type can have this remaining length."""
    if kind in (PINGREQ, PINGRESP):
        return 1 if length == 0 else 0
    if kind == CONNECT:
        return 1 if length >= 12 else 0
    if kind in (DISCONNECT, AUTH):
        return 1 if length == 0 or version in (0, 5) else 0
    if kind in (PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK, CONNACK):
        return 1 if length == 2 or (length > 2 and version in (0, 5)) else 0
    if kind == SUBSCRIBE:
        return 1 if length >= 5 else 0
    if kind == UNSUBSCRIBE:
        return 1 if length >= 4 else 0
    return 1 if length >= 2 else 0


def whole_packet(buf: Octets, at: int, end: int, version: int) -> int:
    """Return the end of the plausible packet at ``at`` (possibly beyond ``end``), or 0."""
    if end - at < 2 or not legal_first(buf[at], version):
        return 0
    kind = high(buf, at)
    length = 0
    body = 0
    for i in range(4):
        if at + 1 + i >= end:
            return 0
        octet = buf[at + 1 + i] + 0
        length += (octet & 127) << 7 * i
        if octet < 128:
            body = at + 2 + i
            break
    if body == 0 or not legal_length(kind, length, version):
        return 0
    if kind == PUBLISH and not plausible_topic(buf, body, min(end, body + length), buf[at] & 6):
        return 0
    return body + length


def plausible_topic(buf: Octets, at: int, end: int, acknowledged: int) -> int:
    """Return whether a topic name stands at ``at``: not empty, no control characters, no wildcards."""
    if end - at < 3:
        return 0
    length = short(buf, at)
    if length == 0 or at + 2 + length + (2 if acknowledged else 0) > end:
        return 0
    for i in range(length):
        octet = buf[at + 2 + i]
        if octet < 32 or octet in (35, 43, 127):
            return 0
    return 1


def plausible(buf: Octets, at: int, end: int, version: int, edge: int) -> int:
    """Return whether a chain of packets begins at ``at``. ``edge``: a segment begins there, so less proof will do."""
    count = 0
    pos = at
    while pos < end and count < CHAIN:
        stop = whole_packet(buf, pos, end, version)
        if stop == 0:
            return 0
        count += 1
        if stop > end:
            return 1 if count >= CHAIN or (edge and (count > 1 or high(buf, pos) == PUBLISH)) else 0
        pos = stop
    if count == CHAIN:
        return 1
    return 1 if edge or count > 1 else 0


def resync(buf: Octets, at: int, end: int, version: int) -> int:
    """Return where the next plausible packet begins, ``end`` where none does."""
    if plausible(buf, at, end, version, 1):
        return at
    for pos in range(at + 1, end):
        if plausible(buf, pos, end, version, 0):
            return pos
    return end
