"""MQTT packets to and from octets, without sockets (chapters 2 and 3).

Decoding has three outcomes: a packet, ``None`` for "need more octets", or :class:`Malformed`, which no further octets
can mend. Encoding refuses only what the format has no room for: a conformance tool must be able to say wrong things.
"""

from collections.abc import Callable
from typing import Final

from mqproof.dissectors.errors import Malformed, Unencodable
from mqproof.dissectors.mqtt.fields import (
    Properties,
    Reader,
    encode_binary,
    encode_properties,
    encode_string,
    encode_unsigned,
    encode_varint,
    prop,
    read_varint,
    rule,
)
from mqproof.dissectors.mqtt.packets import (
    Acknowledgement,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    RawPacket,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
    packet_name,
    packet_type,
)
from mqproof.dissectors.mqtt.tables import FLAGS, PROTOCOL_NAMES, PacketType, ReasonCode, Version
from mqproof.dissectors.stream import StreamDecoder

__all__ = [
    "Acknowledgement",
    "Auth",
    "Connack",
    "Connect",
    "Decoder",
    "Disconnect",
    "Malformed",
    "Packet",
    "Pingreq",
    "Pingresp",
    "Properties",
    "Puback",
    "Pubcomp",
    "Publish",
    "Pubrec",
    "Pubrel",
    "RawPacket",
    "Suback",
    "Subscribe",
    "Subscription",
    "Unencodable",
    "Unsuback",
    "Unsubscribe",
    "Will",
    "decode",
    "encode",
    "encode_binary",
    "encode_properties",
    "encode_string",
    "encode_varint",
    "packet_name",
    "packet_type",
    "prop",
]


def decode(data: bytes | bytearray, offset: int = 0, *, version: Version) -> tuple[Packet, int] | None:
    """Return the packet that starts at ``offset`` and the octets it takes, or None when more are needed.

    ``version`` decides how everything but CONNECT is read, which says its version itself. Raises Malformed, with
    offsets counted from the start of the packet.
    """
    if offset >= len(data):
        return None
    first = data[offset]
    _check_first(first, version)
    length = read_varint(data, offset + 1, len(data))
    if length is None:
        return None
    remaining, start = length
    if len(data) - start < remaining:
        return None
    reader = Reader(bytes(data[offset : start + remaining]), start - offset, version)
    packet = _DECODERS[PacketType(first >> 4)](reader, first & 15)
    reader.finish()
    return packet, start + remaining - offset


def _check_first(first: int, version: Version) -> None:
    kind, flags = first >> 4, first & 15
    if kind == 0 or (kind == PacketType.AUTH and version is not Version.V5_0):
        raise Malformed(0, rule("malformed", version), f"packet type {kind} is reserved", ReasonCode.MALFORMED_PACKET)
    if kind == PacketType.PUBLISH:
        return
    lenient = version is Version.V3_1 and flags & 2  # 3.1 gave DUP and QoS bits to PUBREL, SUBSCRIBE, UNSUBSCRIBE
    if flags != FLAGS[PacketType(kind)] and not lenient:
        detail = f"{PacketType(kind).name} with flags {flags:04b}"
        raise Malformed(0, rule("flags", version), detail, ReasonCode.MALFORMED_PACKET)


def _connect(reader: Reader, flags: int) -> Connect:
    name = reader.string()
    level = reader.unsigned(1)
    version = next((v for v in Version if v == level), None)
    if name not in PROTOCOL_NAMES.values():
        raise reader.fail("protocol name", f"protocol name {name!r}", ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)
    if version is None or PROTOCOL_NAMES[version] != name:
        detail = f"protocol {name} level {level}"
        raise reader.fail("protocol version", detail, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)
    reader.version = version
    bits = _connect_flags(reader)
    keep_alive = reader.unsigned(2)
    properties = reader.properties("CONNECT")
    client_id = reader.string()
    will = _will(reader, bits) if bits & 4 else None
    user_name = reader.string() if bits & 0x80 else None
    password = reader.binary() if bits & 0x40 else None
    return Connect(client_id, bool(bits & 2), keep_alive, will, user_name, password, version, properties)


def _connect_flags(reader: Reader) -> int:
    bits = reader.unsigned(1)
    if bits & 1 and reader.version is not Version.V3_1:
        raise reader.fail("reserved connect flag", "the reserved connect flag is 1")
    if bits & 4 and bits >> 3 & 3 == 3:
        raise reader.fail("will qos", "will QoS 3")
    if not bits & 4 and bits & 0x38:
        raise reader.fail("will flags", "will QoS or will retain without will flag")
    if bits & 0x40 and not bits & 0x80 and reader.version is Version.V3_1_1:
        raise reader.fail("password flag", "password flag without user name flag")
    return bits


def _will(reader: Reader, bits: int) -> Will:
    properties = reader.properties("WILL")
    return Will(reader.string(), reader.binary(), bits >> 3 & 3, bool(bits & 0x20), properties)


def _connack(reader: Reader, flags: int) -> Connack:
    acknowledge = reader.unsigned(1)
    if acknowledge > 1 and reader.version is not Version.V3_1:
        raise reader.fail("connack flags", f"connect acknowledge flags {acknowledge:08b}")
    reason_code = reader.unsigned(1)
    # A server that refuses a version may answer in the format of another one: no properties then.
    properties = reader.properties("CONNACK") if reader.left else ()
    return Connack(bool(acknowledge & 1), reason_code, properties)


def _publish(reader: Reader, flags: int) -> Publish:
    qos, dup = flags >> 1 & 3, bool(flags & 8)
    if qos == 3:
        raise reader.fail("qos", "PUBLISH with QoS 3")
    if dup and not qos:
        raise reader.fail("dup at qos 0", "PUBLISH with QoS 0 and DUP 1")
    topic = reader.string()
    packet_id = reader.packet_id() if qos else None
    properties = reader.properties("PUBLISH")
    return Publish(topic, reader.octets(reader.left), qos, bool(flags & 1), dup, packet_id, properties)


def _acknowledgement(kind: type[Acknowledgement]) -> Callable[[Reader, int], Acknowledgement]:
    name = kind.__name__.upper()

    def read(reader: Reader, flags: int) -> Acknowledgement:
        packet_id = reader.packet_id()
        if reader.version is not Version.V5_0 or not reader.left:
            return kind(packet_id)
        reason_code = reader.unsigned(1)
        return kind(packet_id, reason_code, reader.properties(name) if reader.left else ())

    return read


def _subscribe(reader: Reader, flags: int) -> Subscribe:
    packet_id = reader.packet_id()
    properties = reader.properties("SUBSCRIBE")
    subscriptions = []
    while reader.left:
        subscriptions.append(_subscription(reader))
    if not subscriptions:
        raise reader.fail("no filter", "SUBSCRIBE without a topic filter", ReasonCode.PROTOCOL_ERROR)
    return Subscribe(packet_id, tuple(subscriptions), properties)


def _subscription(reader: Reader) -> Subscription:
    topic_filter = reader.string()
    options = reader.unsigned(1)
    reserved = 0xC0 if reader.version is Version.V5_0 else 0xFC
    if options & reserved:
        raise reader.fail("options", f"reserved bits in subscription options {options:08b}")
    if options & 3 == 3:
        raise reader.fail("options", "subscription with QoS 3", ReasonCode.PROTOCOL_ERROR)
    if options >> 4 & 3 == 3:
        raise reader.fail("options", "retain handling 3", ReasonCode.PROTOCOL_ERROR)
    return Subscription(topic_filter, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3)


def _suback(reader: Reader, flags: int) -> Suback:
    packet_id = reader.packet_id()
    properties = reader.properties("SUBACK")
    return Suback(packet_id, tuple(reader.octets(reader.left)), properties)


def _unsubscribe(reader: Reader, flags: int) -> Unsubscribe:
    packet_id = reader.packet_id()
    properties = reader.properties("UNSUBSCRIBE")
    filters = []
    while reader.left:
        filters.append(reader.string())
    if not filters:
        raise reader.fail("no unsubscribe filter", "UNSUBSCRIBE without a topic filter", ReasonCode.PROTOCOL_ERROR)
    return Unsubscribe(packet_id, tuple(filters), properties)


def _unsuback(reader: Reader, flags: int) -> Unsuback:
    packet_id = reader.packet_id()
    properties = reader.properties("UNSUBACK")
    codes = reader.octets(reader.left) if reader.version is Version.V5_0 else b""
    return Unsuback(packet_id, tuple(codes), properties)


def _disconnect(reader: Reader, flags: int) -> Disconnect:
    if reader.version is not Version.V5_0 or not reader.left:
        return Disconnect()
    reason_code = reader.unsigned(1)
    return Disconnect(reason_code, reader.properties("DISCONNECT") if reader.left else ())


def _auth(reader: Reader, flags: int) -> Auth:
    if not reader.left:
        return Auth()
    reason_code = reader.unsigned(1)
    return Auth(reason_code, reader.properties("AUTH") if reader.left else ())


_DECODERS: Final[dict[PacketType, Callable[[Reader, int], Packet]]] = {
    PacketType.CONNECT: _connect,
    PacketType.CONNACK: _connack,
    PacketType.PUBLISH: _publish,
    PacketType.PUBACK: _acknowledgement(Puback),  # type: ignore[dict-item]
    PacketType.PUBREC: _acknowledgement(Pubrec),  # type: ignore[dict-item]
    PacketType.PUBREL: _acknowledgement(Pubrel),  # type: ignore[dict-item]
    PacketType.PUBCOMP: _acknowledgement(Pubcomp),  # type: ignore[dict-item]
    PacketType.SUBSCRIBE: _subscribe,
    PacketType.SUBACK: _suback,
    PacketType.UNSUBSCRIBE: _unsubscribe,
    PacketType.UNSUBACK: _unsuback,
    PacketType.PINGREQ: lambda reader, flags: Pingreq(),
    PacketType.PINGRESP: lambda reader, flags: Pingresp(),
    PacketType.DISCONNECT: _disconnect,
    PacketType.AUTH: _auth,
}


def encode(packet: Packet, version: Version, *, flags: int | None = None) -> bytes:
    """Return the octets of ``packet``; ``flags`` replaces the fixed header's low four bits, legal or not.

    CONNECT is written in the version that it names itself. Raises Unencodable for values that do not fit.
    """
    if isinstance(packet, RawPacket):
        length = encode_varint(len(packet.body)) if packet.remaining_length is None else packet.remaining_length
        return bytes([packet.first_byte]) + length + packet.body
    kind = PacketType(packet_type(packet))
    legal = _publish_flags(packet) if isinstance(packet, Publish) else FLAGS[kind]
    body = _body(packet, packet.version if isinstance(packet, Connect) else version)
    return bytes([kind << 4 | (legal if flags is None else flags)]) + encode_varint(len(body)) + body


def _publish_flags(packet: Publish) -> int:
    return packet.dup << 3 | packet.qos << 1 | packet.retain


def _body(packet: Packet, version: Version) -> bytes:
    properties = _properties_writer(version)
    match packet:
        case Connect():
            return _connect_body(packet, version)
        case Connack():
            flags_and_code = bytes([packet.session_present, packet.reason_code])
            return flags_and_code + properties(packet.properties)
        case Publish():
            number = b"" if packet.packet_id is None else encode_unsigned(packet.packet_id, 2)
            return encode_string(packet.topic) + number + properties(packet.properties) + packet.payload
        case Subscribe():
            filters = b"".join(encode_string(entry.filter) + _options(entry) for entry in packet.subscriptions)
            return encode_unsigned(packet.packet_id, 2) + properties(packet.properties) + filters
        case Unsubscribe():
            filters = b"".join(map(encode_string, packet.filters))
            return encode_unsigned(packet.packet_id, 2) + properties(packet.properties) + filters
        case Suback() | Unsuback():
            codes = bytes(packet.reason_codes)
            return encode_unsigned(packet.packet_id, 2) + properties(packet.properties) + codes
        case Puback() | Pubrec() | Pubrel() | Pubcomp():
            return encode_unsigned(packet.packet_id, 2) + _short_form(packet, version)
        case Disconnect() | Auth():
            return _short_form(packet, version)
    return b""


def _properties_writer(version: Version) -> Callable[[Properties], bytes]:
    return encode_properties if version is Version.V5_0 else lambda properties: b""


def _connect_body(packet: Connect, version: Version) -> bytes:
    properties = _properties_writer(version)
    will = packet.will
    bits = packet.clean_start << 1 | (packet.user_name is not None) << 7 | (packet.password is not None) << 6
    if will is not None:
        bits |= 4 | will.qos << 3 | will.retain << 5
    parts = [encode_string(PROTOCOL_NAMES[version]), bytes([version, bits]), encode_unsigned(packet.keep_alive, 2)]
    parts += [properties(packet.properties), encode_string(packet.client_id)]
    if will is not None:
        parts += [properties(will.properties), encode_string(will.topic), encode_binary(will.payload)]
    if packet.user_name is not None:
        parts.append(encode_string(packet.user_name))
    if packet.password is not None:
        parts.append(encode_binary(packet.password))
    return b"".join(parts)


def _options(entry: Subscription) -> bytes:
    return bytes([entry.qos | entry.no_local << 2 | entry.retain_as_published << 3 | entry.retain_handling << 4])


def _short_form(packet: Acknowledgement | Disconnect | Auth, version: Version) -> bytes:
    """Reason code and properties, left out where the specification lets them be (sections 3.4.2.1, 3.14.2.1)."""
    if version is not Version.V5_0 or not (packet.reason_code or packet.properties):
        return b""
    code = encode_unsigned(packet.reason_code, 1)
    if packet.properties or isinstance(packet, Auth):
        return code + encode_properties(packet.properties)
    return code


class Decoder(StreamDecoder[Packet]):
    """A stream of octets in, packets out. A CONNECT sets ``version``.

    ``max_packet_size`` (octets, 0 for no limit) bounds what is buffered: a larger announcement is Malformed at once.
    """

    def __init__(self, version: Version = Version.V5_0, *, max_packet_size: int = 0) -> None:
        super().__init__()
        self.version = version
        self.max_packet_size = max_packet_size

    def _decode(self, data: bytearray, position: int) -> tuple[Packet, int] | None:
        if self.max_packet_size:
            self._check_size(data, position)
        result = decode(data, position, version=self.version)
        if result is not None and isinstance(result[0], Connect):
            self.version = result[0].version
        return result

    def _check_size(self, data: bytearray, position: int) -> None:
        length = read_varint(data, position + 1, len(data))
        size = 0 if length is None else length[0] + length[1] - position
        if size > self.max_packet_size:
            detail = f"a packet of {size} octets, {self.max_packet_size} allowed"
            raise Malformed(1, rule("malformed", self.version), detail, ReasonCode.PACKET_TOO_LARGE)
