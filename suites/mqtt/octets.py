"""Packets written octet by octet, for what no encoder of legal packets would write."""

from mqproof.dissectors.mqtt.codec import Publish, encode_binary, encode_varint
from mqproof.harness.verdicts import Blocked, check
from mqproof.harness.wires.base import End
from mqproof.harness.wires.mqtt import MqttWire

BAD_UTF8 = {
    "a lone continuation octet": b"\x80",
    "a cut-off sequence": b"\xe2\x82",
    "an overlong slash": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "an octet that UTF-8 never has": b"\xff",
}  # MQTT 3.1.1 section 1.5.3, 5.0 section 1.5.4


def sent_on(subscriber: MqttWire, publisher: MqttWire) -> list[Publish]:
    """Return what came of a malformed message; accuse the server where it sends what is malformed itself.

    A server may mend what it gets (5.0 section 4.13.1 leaves open what it checks): U+FFFD in place of what is no UTF-8
    is well-formed. Raises Blocked.
    """
    try:
        return subscriber.settle(publisher)
    except Blocked:
        ended = subscriber.ended
        is_malformed = ended is not None and ended.end is End.MALFORMED
        check(not is_malformed, expected="no malformed packet", actual=ended)
        raise


def packet(first_octet: int, *parts: bytes) -> bytes:
    """Return a packet of this first octet and body, with its true remaining length."""
    body = b"".join(parts)
    return bytes([first_octet]) + encode_varint(len(body)) + body


def field(octets: bytes) -> bytes:
    """Return a string or binary field: two octets of length, then the octets."""
    return encode_binary(octets)


def properties(wire: MqttWire, octets: bytes = b"") -> bytes:
    """Return a property field in 5.0, nothing in 3.1.1."""
    return encode_varint(len(octets)) + octets if wire.is_v5 else b""


def connect(
    wire: MqttWire, *fields: bytes, flags: int = 2, name: bytes = b"MQTT", level: int | None = None, first: int = 0x10
) -> bytes:
    """Return a CONNECT with these flags and fields of payload, keep-alive 60; a will has no properties."""
    number = int(wire.version) if level is None else level
    payload = [field(octets) for octets in fields]
    if flags & 4 and len(payload) > 1:
        payload.insert(1, properties(wire))
    return packet(first, field(name), bytes([number, flags]), b"\0\x3c", properties(wire), *payload)


def subscribe(wire: MqttWire, topic_filter: bytes, options: int = 0, *, first: int = 0x82, number: int = 1) -> bytes:
    """Return a SUBSCRIBE to one filter."""
    return packet(first, number.to_bytes(2), properties(wire), field(topic_filter), bytes([options]))


def unsubscribe(wire: MqttWire, topic_filter: bytes, *, first: int = 0xA2, number: int = 1) -> bytes:
    """Return an UNSUBSCRIBE from one filter."""
    return packet(first, number.to_bytes(2), properties(wire), field(topic_filter))


def publish(
    wire: MqttWire, topic: bytes, payload: bytes = b"x", *, first: int = 0x30, number: int | None = None
) -> bytes:
    """Return a PUBLISH; ``number`` is its packet identifier, None for no such field."""
    identifier = b"" if number is None else number.to_bytes(2)
    return packet(first, field(topic), identifier, properties(wire), payload)
