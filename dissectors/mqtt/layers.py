"""MQTT 3.1, 3.1.1 and 5.0 for scapy: ``from mqproof.dissectors.mqtt.layers import *``.

scapy's own ``contrib.mqtt`` leaves the properties of 5.0 unread, has no AUTH and no PINGREQ, and puts nothing together.
Here :class:`MQTT` is the fixed header with its packet; packets in one segment follow each other as payload, and scapy's
``TCPSession`` puts together what stands in several. How a packet is read depends on the version in the connection's
CONNECT: with ``TCPSession`` it is remembered; otherwise set ``conf.contribs["mqproof"]["mqtt_version"]`` (4 at first).
Importing this imports scapy.
"""

import struct
from typing import Any, Final

from mqproof.dissectors.mqtt.fields import encode_varint
from mqproof.dissectors.mqtt.layer_fields import PropertiesField, TextField, varint
from mqproof.dissectors.mqtt.tables import FLAGS, PacketType, Version
from scapy.config import conf
from scapy.fields import (
    BitEnumField,
    BitField,
    ByteField,
    ConditionalField,
    FieldListField,
    FlagsField,
    PacketListField,
    ShortField,
    StrField,
)
from scapy.layers.inet import TCP
from scapy.packet import Packet, Padding, bind_layers

PORT: Final = 1883
conf.contribs.setdefault("mqproof", {})["mqtt_version"] = int(Version.V3_1_1)


def _version(pkt: Any) -> int:
    """Return the version by which a packet is read or written."""
    while pkt is not None:
        version = getattr(pkt, "version_in_use", None)
        if version:
            return int(version)
        pkt = pkt.underlayer or pkt.parent
    return int(conf.contribs["mqproof"]["mqtt_version"])


def _five(field: Any) -> ConditionalField:
    return ConditionalField(field, lambda pkt: _version(pkt) == Version.V5_0)


class _Versioned(Packet):
    """Copies keep the version by which the packet was read."""

    version_in_use = 0

    def copy(self) -> Any:
        """Return a copy."""
        made = super().copy()
        made.version_in_use = self.version_in_use
        return made

    def clone_with(self, *arguments: Any, **more: Any) -> Any:
        """Return a copy with another payload."""
        made = super().clone_with(*arguments, **more)
        made.version_in_use = self.version_in_use
        return made


class MQTTBody(_Versioned):
    """What stands behind the fixed header. Subclasses are named after the packet types."""

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        """Nothing follows inside the packet."""
        return b"", s


_CONNECT_FLAGS: Final = [
    "reserved", "clean", "will", "will_qos_low", "will_qos_high", "will_retain", "password", "user",
]  # fmt: skip


def _when(flag: int, field: Any) -> ConditionalField:
    return ConditionalField(field, lambda pkt: bool(int(pkt.flags) & flag))


class MQTTConnect(MQTTBody):
    """Section 3.1. Its own version decides how it is read."""

    name = "MQTT CONNECT"
    fields_desc = [
        TextField("protocol_name", b"MQTT"),
        ByteField("version", 4),
        FlagsField("flags", 2, 8, _CONNECT_FLAGS),
        ShortField("keep_alive", 0),
        ConditionalField(PropertiesField("properties", b""), lambda pkt: pkt.version == Version.V5_0),
        TextField("client_id", b""),
        ConditionalField(
            PropertiesField("will_properties", b""),
            lambda pkt: bool(pkt.version == Version.V5_0 and int(pkt.flags) & 4),
        ),
        _when(4, TextField("will_topic", b"")),
        _when(4, TextField("will_payload", b"")),
        _when(128, TextField("user_name", b"")),
        _when(64, TextField("password", b"")),
    ]


class MQTTConnack(MQTTBody):
    """Section 3.2."""

    name = "MQTT CONNACK"
    fields_desc = [ByteField("flags", 0), ByteField("reason_code", 0), _five(PropertiesField("properties", b""))]


class MQTTPublish(MQTTBody):
    """Section 3.3; the packet identifier is there when the fixed header says QoS 1 or 2."""

    name = "MQTT PUBLISH"
    fields_desc = [
        TextField("topic", b""),
        ConditionalField(ShortField("packet_id", 1), lambda pkt: pkt.parent is not None and pkt.parent.qos > 0),
        _five(PropertiesField("properties", b"")),
        StrField("load", b""),
    ]


class _ShortForm(MQTTBody):
    """Reason code and properties may be left out in 5.0 (section 3.4.2), and do not exist before."""

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Leave out what is not needed; before 5.0 there is nothing but the packet identifier."""
        head = 2 if "packet_id" in self.default_fields else 0
        if _version(self) != Version.V5_0:
            return pkt[:head] + pay
        if pkt[head:] == b"\0\0":
            return pkt[:head] + pay
        return (pkt[:-1] if pkt[head + 1 :] == b"\0" else pkt) + pay

    def do_dissect(self, s: bytes) -> bytes:
        """Read what is there."""
        head = 2 if "packet_id" in self.default_fields else 0
        self.raw_packet_cache = None
        full = s + b"\0\0"[max(0, len(s) - head) :] if len(s) < head + 2 else s
        super().do_dissect(full)
        self.raw_packet_cache = s
        return b""


class MQTTAcknowledgement(_ShortForm):
    """PUBACK, PUBREC, PUBREL and PUBCOMP: sections 3.4 to 3.7."""

    name = "MQTT acknowledgement"
    fields_desc = [ShortField("packet_id", 1), ByteField("reason_code", 0), PropertiesField("properties", b"")]


class MQTTDisconnect(_ShortForm):
    """DISCONNECT and AUTH: sections 3.14 and 3.15."""

    name = "MQTT DISCONNECT or AUTH"
    fields_desc = [ByteField("reason_code", 0), PropertiesField("properties", b"")]


class MQTTSubscription(MQTTBody):
    """A topic filter with its options: section 3.8.3.1."""

    name = "MQTT subscription"
    fields_desc = [
        TextField("filter", b""),
        BitField("reserved", 0, 2),
        BitField("retain_handling", 0, 2),
        BitField("retain_as_published", 0, 1),
        BitField("no_local", 0, 1),
        BitField("qos", 0, 2),
    ]


class MQTTSubscribe(MQTTBody):
    """Section 3.8."""

    name = "MQTT SUBSCRIBE"
    fields_desc = [
        ShortField("packet_id", 1),
        _five(PropertiesField("properties", b"")),
        PacketListField("subscriptions", [], MQTTSubscription),
    ]


class MQTTSuback(MQTTBody):
    """SUBACK, and UNSUBACK of 5.0: sections 3.9 and 3.11."""

    name = "MQTT SUBACK"
    fields_desc = [
        ShortField("packet_id", 1),
        _five(PropertiesField("properties", b"")),
        FieldListField("reason_codes", [], ByteField("", 0)),
    ]


class MQTTUnsubscribe(MQTTBody):
    """Section 3.10."""

    name = "MQTT UNSUBSCRIBE"
    fields_desc = [
        ShortField("packet_id", 1),
        _five(PropertiesField("properties", b"")),
        FieldListField("filters", [], TextField("", b"")),
    ]


class MQTTRaw(MQTTBody):
    """What cannot be read."""

    name = "MQTT octets"
    fields_desc = [StrField("load", b"")]


BODIES: Final = {
    PacketType.CONNECT: MQTTConnect,
    PacketType.CONNACK: MQTTConnack,
    PacketType.PUBLISH: MQTTPublish,
    PacketType.PUBACK: MQTTAcknowledgement,
    PacketType.PUBREC: MQTTAcknowledgement,
    PacketType.PUBREL: MQTTAcknowledgement,
    PacketType.PUBCOMP: MQTTAcknowledgement,
    PacketType.SUBSCRIBE: MQTTSubscribe,
    PacketType.SUBACK: MQTTSuback,
    PacketType.UNSUBSCRIBE: MQTTUnsubscribe,
    PacketType.UNSUBACK: MQTTSuback,
    PacketType.DISCONNECT: MQTTDisconnect,
    PacketType.AUTH: MQTTDisconnect,
}


class _BodyField(StrField):
    """The length and the packet behind the first octet; ``length`` is shown as the packet's own size."""

    holds_packets = 1

    def any2i(self, pkt: Any, x: Any) -> Any:
        """Take a packet."""
        if isinstance(x, Packet):
            x.add_parent(pkt)
        return x

    i2h = m2i = any2i

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """Append remaining length and packet."""
        if isinstance(val, Packet):
            val.add_parent(pkt)
            val.clear_cache()
        octets = b"" if val is None else bytes(val)
        return bytes(s + encode_varint(len(octets)) + octets)

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Take remaining length and packet off."""
        length, start = varint(s)
        octets = s[start : start + length]
        return s[start + length :], _body(octets, pkt) if octets else None

    def i2repr(self, pkt: Any, x: Any) -> str:
        """Show the packet."""
        return repr(x)


def _body(octets: bytes, pkt: Any) -> MQTTBody:
    layer = BODIES.get(pkt.type, MQTTRaw)
    try:
        made = layer(octets, _parent=pkt)
    except (ValueError, struct.error):
        return MQTTRaw(octets, _parent=pkt)
    made.version_in_use = made.version if isinstance(made, MQTTConnect) else _version(pkt)
    return made


class MQTT(_Versioned):
    """One control packet (section 2.1); further ones of the segment are its payload.

    The reserved flags of the packets other than PUBLISH are ``dup``, ``qos`` and ``retain`` here; SUBSCRIBE,
    UNSUBSCRIBE and PUBREL get their 2 by themselves.
    """

    name = "MQTT"
    fields_desc = [
        BitEnumField("type", PacketType.PUBLISH.value, 4, {kind.value: kind.name for kind in PacketType}),
        BitField("dup", 0, 1),
        BitField("qos", None, 2),
        BitField("retain", 0, 1),
        _BodyField("body", None),
    ]

    def pre_dissect(self, s: bytes) -> bytes:
        """Remember the version by which this packet is read."""
        self.version_in_use = _version(self)
        return s

    def self_build(self) -> bytes:
        """Fill in the flags that the packet type demands."""
        if self.getfieldval("qos") is None:
            self.setfieldval("qos", FLAGS.get(PacketType(self.type), 0) >> 1 if self.type else 0)
        return bytes(super().self_build())

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """Another packet follows where all of it is there."""
        return MQTT if _whole(payload) else Padding

    def do_dissect_payload(self, s: bytes) -> None:
        """Hand the version on to the packets that follow."""
        if isinstance(self.body, MQTTConnect):
            self.version_in_use = self.body.version
        super().do_dissect_payload(s)

    @classmethod
    def tcp_reassemble(cls, data: bytes, _metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:
        """Return what is whole, once a packet is; the rest is kept by the session, and so is the version."""
        if not _whole(data):
            return None
        before = conf.contribs["mqproof"]["mqtt_version"]
        conf.contribs["mqproof"]["mqtt_version"] = session.get("mqtt_version", before)
        try:
            made = cls(data)
        finally:
            conf.contribs["mqproof"]["mqtt_version"] = before
        if isinstance(made.body, MQTTConnect):
            session["mqtt_version"] = made.body.version
        return made

    def mysummary(self) -> str:
        """Return a line such as ``MQTT PUBLISH home/temp``."""
        topic = self.body.topic.decode("utf-8", "replace") if isinstance(self.body, MQTTPublish) else ""
        return f"{self.sprintf('MQTT %MQTT.type%')} {topic}".rstrip()


def _whole(octets: bytes) -> bool:
    """Return whether all of a packet is there."""
    try:
        length, start = varint(octets, 1)
    except ValueError:
        return False
    return len(octets) >= start + length


bind_layers(TCP, MQTT, sport=PORT)
bind_layers(TCP, MQTT, dport=PORT)
bind_layers(TCP, MQTT, sport=PORT, dport=PORT)

__all__ = ["BODIES", "MQTT", "MQTTRaw", "MQTTSubscription"]
__all__ += [layer.__name__ for layer in dict.fromkeys(BODIES.values())]
