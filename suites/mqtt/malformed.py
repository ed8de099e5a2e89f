"""Malformed packets, generated from the tables of the specification: each type, each field, each property.

A case is a name, octets, and whether the text itself demands that the connection ends. Where it does not, a server may
overlook the fault (5.0 section 4.13.1), but must not react in a way that the text does not know.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mqproof.dissectors.mqtt.codec import (
    Auth,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Subscription,
    Unsubscribe,
    encode,
    encode_properties,
    encode_varint,
    packet_name,
)
from mqproof.dissectors.mqtt.tables import FLAGS, PROPERTIES, REASON_CODES, PacketType, PropertySpec, Version
from mqproof.suites.mqtt.octets import BAD_UTF8, field

SAMPLES = {"byte": 0, "two": 5, "four": 5, "varint": 5, "string": "text", "binary": b"data", "pair": ("key", "value")}
HOLDERS = ("PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "DISCONNECT", "AUTH")
UNKNOWN = [number for number in range(0x30) if number not in {spec.id for spec in PROPERTIES.values()}] + [0x7F, 0x80]


@dataclass(frozen=True, slots=True)
class Case:
    """One malformed packet. ``demanded``: the text says that the connection must end."""

    name: str
    octets: bytes
    demanded: bool = False


def packets(version: Version, topic: str) -> list[Packet]:
    """Return a legal packet of each type that a client may send behind CONNECT, long enough to be cut."""
    found: list[Packet] = [
        Publish(topic, b"", 1, packet_id=5), Puback(5), Pubrec(5), Pubrel(5), Pubcomp(5),
        Subscribe(5, (Subscription(apart(topic), 1),)), Unsubscribe(5, (topic,)),
    ]  # fmt: skip
    return [*found, Disconnect(4, (("reason_string", "r"),)), Auth(0x18)] if version is Version.V5_0 else found


def apart(topic: str) -> str:
    """Return what SUBSCRIBE names: no connection gets what another one's case has published."""
    return f"{topic}/apart"


def groups(version: Version) -> list[str]:
    """Return the names of the groups that there are for this version."""
    common = ["cut", "flags", "strings", "lengths", "longwinded"]
    return [*common, "unknown", "misplaced", "repeated", "values", "shortened", "codes"] if version == 5 else common


def cases(group: str, version: Version, topic: str) -> Iterator[Case]:
    """Yield the cases of a group."""
    yield from _GROUPS[group](version, topic)


def _cut(version: Version, topic: str) -> Iterator[Case]:
    """Every packet, cut at every octet where what is left is no packet."""
    for packet in packets(version, topic):
        octets = encode(packet, version)
        body = octets[2:]
        for size in range(_shortest(packet, version), len(body)):
            if not _is_whole(packet, version, topic, size):
                name = f"{packet_name(packet)} cut to {size} octets"
                yield Case(name, octets[:1] + encode_varint(size) + body[:size], version is Version.V3_1_1)


def _shortest(packet: Packet, version: Version) -> int:
    return 1 if isinstance(packet, Disconnect | Auth) else 0


def _is_whole(packet: Packet, version: Version, topic: str, size: int) -> bool:
    """Whether the packet may end here: optional parts of 5.0, a PUBLISH without payload."""
    if isinstance(packet, Disconnect | Auth):
        return size == 1
    return size == 2 and isinstance(packet, Puback | Pubrec | Pubrel | Pubcomp)


def _flags(version: Version, topic: str) -> Iterator[Case]:
    """Every reserved flag of every packet; PINGREQ, too."""
    for packet in packets(version, topic):
        kind = PacketType[packet_name(packet)]
        octets = encode(packet, version)
        for flags in range(16) if kind in FLAGS else ():
            if flags != FLAGS[kind]:
                named = kind in (PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE, PacketType.PUBREL, PacketType.AUTH)
                yield Case(f"{kind.name} with flags {flags:04b}", bytes([kind << 4 | flags]) + octets[1:], named)


def _strings(version: Version, topic: str) -> Iterator[Case]:
    """Strings that are no UTF-8, or hold U+0000, wherever a string stands."""
    lead = b"\0" if version is Version.V5_0 else b""
    for what, bad in {**BAD_UTF8, "U+0000": b"a\0b"}.items():
        name = topic.encode() + bad
        demanded = version is Version.V3_1_1
        yield Case(f"PUBLISH topic: {what}", _packet(0x30, field(name) + lead), demanded)
        pattern = apart(topic).encode() + bad
        yield Case(f"SUBSCRIBE filter: {what}", _packet(0x82, b"\0\5" + lead + field(pattern) + b"\0"), demanded)
        yield Case(f"UNSUBSCRIBE filter: {what}", _packet(0xA2, b"\0\5" + lead + field(name)), demanded)
        for spec in PROPERTIES.values() if version is Version.V5_0 else ():
            if spec.type in ("string", "pair"):
                value = encode_varint(spec.id) + field(bad) + (field(b"v") if spec.type == "pair" else b"")
                for holder in sorted(spec.packets & set(HOLDERS)):
                    yield Case(f"{holder} {spec.name}: {what}", _holding(holder, value, topic))


def _lengths(version: Version, topic: str) -> Iterator[Case]:
    """Lengths that lie: of strings, of properties, of the packet."""
    lead = b"\0" if version is Version.V5_0 else b""
    demanded = version is Version.V3_1_1
    for more in (1, 2, 255, 0xFF00):
        size = (len(topic) + 50 + more).to_bytes(2)
        yield Case(f"PUBLISH topic longer by {more}", _packet(0x30, size + topic.encode() + lead), demanded)
        yield Case(f"SUBSCRIBE filter longer by {more}", _packet(0x82, b"\0\5" + lead + size + b"a\0"), demanded)
        yield Case(f"UNSUBSCRIBE filter longer by {more}", _packet(0xA2, b"\0\5" + lead + size + b"a"), demanded)
    if version is Version.V5_0:
        for holder in HOLDERS:
            for length in (b"\x01", b"\x7f", b"\xff\x7f", b"\xff\xff\xff\xff\x01", b"\x80"):
                yield Case(f"{holder} property length {length.hex()}", _holding(holder, b"", topic, length))


def _longwinded(version: Version, topic: str) -> Iterator[Case]:
    """Lengths in more octets than they need: the sender must not (MQTT-1.5.5-1), no reaction is laid down.

    Of requests only: what a server says to an acknowledgement of nothing is another question.
    """
    requests = (packet for packet in packets(version, topic) if isinstance(packet, Publish | Subscribe | Unsubscribe))
    for packet in requests:
        octets = encode(packet, version)
        for size in (2, 3, 4):
            length = bytes([octets[1] | 0x80, *[0x80] * (size - 2), 0])
            yield Case(f"{packet_name(packet)} length in {size} octets", octets[:1] + length + octets[2:])
    for holder in HOLDERS[:3] if version is Version.V5_0 else ():
        yield Case(f"{holder} property length in 2 octets", _holding(holder, b"", topic, b"\x80\0"))


def _unknown(version: Version, topic: str) -> Iterator[Case]:
    for holder in HOLDERS:
        for number in UNKNOWN:
            yield Case(f"{holder} property {number:#x}", _holding(holder, encode_varint(number) + b"\0\0", topic))


def _misplaced(version: Version, topic: str) -> Iterator[Case]:
    for holder in HOLDERS:
        for spec in PROPERTIES.values():
            if holder not in spec.packets:
                yield Case(f"{holder} with {spec.name}", _holding(holder, _property(spec), topic))


def _repeated(version: Version, topic: str) -> Iterator[Case]:
    for holder, spec in _placed():
        twice = _property(spec) * 2
        if not spec.repeatable and not (spec.name == "subscription_identifier" and holder == "PUBLISH"):
            yield Case(f"{holder} with {spec.name} twice", _holding(holder, twice, topic))


def _values(version: Version, topic: str) -> Iterator[Case]:
    """Numbers that a property may not have."""
    for holder, spec in _placed():
        wrong = ([0] if spec.lowest else []) + ([spec.highest + 1, 255] if spec.highest is not None else [])
        for value in wrong:
            octets = encode_properties(((spec.name, value),))[1:]
            yield Case(f"{holder} with {spec.name} {value}", _holding(holder, octets, topic))


def _shortened(version: Version, topic: str) -> Iterator[Case]:
    """Properties that end before their value does."""
    for holder, spec in _placed():
        whole = _property(spec)
        for size in range(1, len(whole)):
            yield Case(f"{holder} with {spec.name} cut to {size}", _holding(holder, whole[:size], topic))


def _codes(version: Version, topic: str) -> Iterator[Case]:
    """Reason codes that a packet does not have."""
    for holder in HOLDERS[3:]:
        for code in range(1, 256, 5):
            if code not in REASON_CODES[PacketType[holder]]:
                yield Case(f"{holder} with code {code:#04x}", _holding(holder, b"", topic, code=code))


def _placed() -> Iterator[tuple[str, PropertySpec]]:
    for holder in HOLDERS:
        for spec in PROPERTIES.values():
            if holder in spec.packets:
                yield holder, spec


def _property(spec: PropertySpec) -> bytes:
    sample = SAMPLES[spec.type]
    if isinstance(sample, int):
        sample = min(max(sample, spec.lowest), spec.highest or 9)
    return encode_properties(((spec.name, sample),))[1:]


def _holding(holder: str, octets: bytes, topic: str, length: bytes | None = None, code: int = 0) -> bytes:
    """Return a 5.0 packet of this name with these octets as its properties."""
    given = (encode_varint(len(octets)) if length is None else length) + octets
    kind = PacketType[holder]
    if holder == "PUBLISH":
        return _packet(0x30, field(topic.encode()) + given)
    if holder == "SUBSCRIBE":
        return _packet(0x82, b"\0\5" + given + field(apart(topic).encode()) + b"\0")
    if holder == "UNSUBSCRIBE":
        return _packet(0xA2, b"\0\5" + given + field(topic.encode()))
    lead = b"" if holder in ("DISCONNECT", "AUTH") else b"\0\5"
    return _packet(kind << 4 | FLAGS[kind], lead + bytes([code]) + given)


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + encode_varint(len(body)) + body


_GROUPS = {
    "cut": _cut, "flags": _flags, "strings": _strings, "lengths": _lengths, "longwinded": _longwinded,
    "unknown": _unknown, "misplaced": _misplaced, "repeated": _repeated, "values": _values, "shortened": _shortened,
    "codes": _codes,
}  # fmt: skip
