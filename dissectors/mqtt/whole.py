"""Kernel: MQTT packets that stand whole in one piece of the stream, as nearly all do, each taken in one go.

What is not whole, or not as it should be, is left to kernel.py, which takes any pieces and says what is wrong. Both
must come to the same books. Section numbers are those of MQTT 5.0.
"""

from mqproof.dissectors.mqtt.counting import class_of, inferred_version, packet_done
from mqproof.dissectors.mqtt.finding import (
    CONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    legal_first,
    legal_length,
)
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.booking import book
from mqproof.dissectors.packets.keys import keep, start_key
from mqproof.dissectors.packets.octets import high, short
from mqproof.dissectors.packets.state import Octets, Words

ACK_HEADER = 3  # packet identifier and reason code; properties follow (section 3.4.2)


def whole_packet(buf: Octets, at: int, end: int, c: int, d: int, s: Words, m: Octets) -> int:
    """Book the packet at ``at`` and return where it ends; ``at``, and nothing booked, where it is not all there."""
    version = s[c + w.C_VERSION]
    kind = high(buf, at)
    if kind == CONNECT or not legal_first(buf[at], version):
        return at
    body = after_varint(buf, at + 1, end)
    if body == 0:
        return at
    length = varint(buf, at + 1, body)
    stop = body + length
    if stop > end or not legal_length(kind, length, version):
        return at
    purpose = class_of(kind, (buf[at] & 6) // 2)
    s[d + w.D_PAYLOAD] = 0
    s[d + w.D_FLAGS] = buf[at] & 15
    if kind == PUBLISH:
        if not whole_publish(buf, body, stop, purpose, version, d, s, m):
            return at
    else:
        header = min(ACK_HEADER, length) if kind in (PUBACK, PUBREC, PUBREL, PUBCOMP) else length
        book(s, purpose, w.VARIABLE_HEADER, header)
        book(s, purpose, w.PROPERTIES, length - header)
        if version == 0:
            s[c + w.C_VERSION] = inferred_version(kind, length)
    book(s, purpose, w.FRAMING, body - at)
    s[d + w.D_KIND] = kind
    s[d + w.D_CLASS] = purpose
    s[d + w.D_SIZE] = stop - at
    packet_done(c, d, s, m)
    return stop


def whole_publish(buf: Octets, at: int, end: int, purpose: int, version: int, d: int, s: Words, m: Octets) -> int:
    """Keep the topic and book the octets of a PUBLISH from ``at`` to ``end`` (3.3); return 0 where they do not fit."""
    topic = short(buf, at)
    header = 2 if s[d + w.D_FLAGS] & 6 else 0
    begins = at + 2 + topic + header
    if begins > end:
        return 0
    properties = 0
    if version == 5:
        body = after_varint(buf, begins, end)
        if body == 0:
            return 0
        properties = body - begins + varint(buf, begins, body)
        if begins + properties > end:
            return 0
    start_key(d, s)
    keep(buf, at + 2, topic, d, s, m)
    payload = end - begins - properties
    book(s, purpose, w.ROUTING, 2 + topic)
    book(s, purpose, w.VARIABLE_HEADER, header)
    book(s, purpose, w.PROPERTIES, properties)
    book(s, purpose, w.PAYLOAD, payload)
    s[d + w.D_PAYLOAD] = payload
    return 1


def after_varint(buf: Octets, at: int, end: int) -> int:
    """Return where the variable byte integer at ``at`` ends, 0 where it does not (section 1.5.5)."""
    for i in range(at, min(at + 4, end)):
        if buf[i] < 128:
            return i + 1
    return 0


def varint(buf: Octets, at: int, end: int) -> int:
    """Return the value of the variable byte integer that stands from ``at`` to ``end``."""
    value = 0
    for i in range(end - at):
        value = value * 128 + (buf[end - 1 - i] & 127)
    return value
