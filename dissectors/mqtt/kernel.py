"""Kernel: MQTT on a stream of octets, whole or in any pieces. Books every octet; keeps nothing but the topic.

The same packets as in codec.py, walked instead of decoded: section numbers are those of MQTT 5.0.
"""

from mqproof.dissectors.mqtt.counting import class_of, inferred_version, packet_done, side_of
from mqproof.dissectors.mqtt.finding import (
    CONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    legal_first,
    legal_length,
    resync,
)
from mqproof.dissectors.mqtt.whole import whole_packet
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.booking import book
from mqproof.dissectors.packets.keys import keep, start_key
from mqproof.dissectors.packets.state import Octets, Words

# Phases: where in a packet the next octet stands.
SYNC, FIRST, LENGTH, TOPIC_LENGTH, TOPIC, IDENTIFIER, PROPERTY_LENGTH, PROPERTIES = range(8)
PAYLOAD, ACK, ACK_PROPERTIES, REST, NAME_LENGTH, NAME, LEVEL = range(8, 15)


def feed(buf: Octets, at: int, end: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Walk the next octets of a direction's stream."""
    while True:
        if s[d + w.D_NEED] == 0:
            advance(c, d, s, m)
            continue
        if at >= end:
            return
        phase = s[d + w.D_PHASE]
        if phase == SYNC:
            found = resync(buf, at, end, s[c + w.C_VERSION])
            if found > at:
                book(s, w.G_OTHER * w.PURPOSE_COUNT + w.P_UNDECODED, w.UNDECODED, found - at)
            if found < end:
                s[w.RESYNCS] += 1
                begin(d, s)
            at = found
        elif phase == FIRST:
            stop = whole_packet(buf, at, end, c, d, s, m)
            if stop > at:
                begin(d, s)
                at = stop
            else:
                first_octet(buf[at], c, d, s)
                at += 1
        elif phase == LENGTH:
            length_octet(buf[at], c, d, s)
            at += 1
        elif phase == PROPERTY_LENGTH:
            property_length_octet(buf[at], d, s)
            at += 1
        else:
            take = min(s[d + w.D_NEED], end - at)
            consume(buf, at, take, phase, d, s, m)
            at += take


def consume(buf: Octets, at: int, take: int, phase: int, d: int, s: Words, m: Octets) -> None:
    """Take octets of a phase that is a run of known length."""
    layer = w.VARIABLE_HEADER
    if phase == PAYLOAD:
        layer = w.PAYLOAD
    elif phase in (TOPIC, TOPIC_LENGTH):
        layer = w.ROUTING
        if phase == TOPIC:
            keep(buf, at, take, d, s, m)
    elif phase in (PROPERTIES, ACK_PROPERTIES):
        layer = w.PROPERTIES
    if phase in (TOPIC_LENGTH, IDENTIFIER, NAME_LENGTH, LEVEL):
        value = s[d + w.D_VALUE]
        for i in range(take):
            value = value << 8 | buf[at + i]
        s[d + w.D_VALUE] = value
    book(s, s[d + w.D_CLASS], layer, take)
    s[d + w.D_NEED] -= take
    s[d + w.D_LEFT] -= take


def enter(phase: int, need: int, d: int, s: Words) -> None:
    """Begin a phase. One that needs more than the packet has left makes the packet malformed."""
    if need > s[d + w.D_LEFT]:
        malformed(d, s)
        return
    s[d + w.D_PHASE] = phase
    s[d + w.D_NEED] = need
    s[d + w.D_VALUE] = 0
    s[d + w.D_SHIFT] = 0


def begin(d: int, s: Words) -> None:
    """Expect a packet's first octet."""
    s[d + w.D_PHASE] = FIRST
    s[d + w.D_NEED] = 1
    s[d + w.D_DAMAGED] = 0


def malformed(d: int, s: Words) -> None:
    """Bytes that no version of MQTT allows: count them and look for the next packet."""
    s[w.MALFORMED] += 1
    lose_sync(d, s)


def lose_sync(d: int, s: Words) -> None:
    """Look for the next packet in what comes."""
    s[d + w.D_PHASE] = SYNC
    s[d + w.D_NEED] = 1


def first_octet(first: int, c: int, d: int, s: Words) -> None:
    """Section 2.1: type and flags."""
    if not legal_first(first, s[c + w.C_VERSION]):
        book(s, w.G_OTHER * w.PURPOSE_COUNT + w.P_UNDECODED, w.UNDECODED, 1)
        malformed(d, s)
        return
    kind = first // 16
    s[d + w.D_KIND] = kind
    s[d + w.D_FLAGS] = first & 15
    s[d + w.D_CLASS] = class_of(kind, (first & 6) // 2)
    s[d + w.D_SIZE] = 1
    s[d + w.D_VALUE] = 0
    s[d + w.D_SHIFT] = 0
    s[d + w.D_PAYLOAD] = 0
    s[d + w.D_PHASE] = LENGTH
    book(s, s[d + w.D_CLASS], w.FRAMING, 1)


def length_octet(octet: int, c: int, d: int, s: Words) -> None:
    """Section 2.1.4: the remaining length, one octet of it."""
    book(s, s[d + w.D_CLASS], w.FRAMING, 1)
    s[d + w.D_SIZE] += 1
    s[d + w.D_VALUE] += (octet & 127) << s[d + w.D_SHIFT]
    s[d + w.D_SHIFT] += 7
    if octet & 128:
        if s[d + w.D_SHIFT] == 28:
            malformed(d, s)
        return
    length = s[d + w.D_VALUE]
    kind = s[d + w.D_KIND]
    if not legal_length(kind, length, s[c + w.C_VERSION]):
        malformed(d, s)
        return
    if s[c + w.C_VERSION] == 0:
        s[c + w.C_VERSION] = inferred_version(kind, length)
    s[d + w.D_LEFT] = length
    s[d + w.D_SIZE] += length
    if kind == PUBLISH:
        start_key(d, s)
        enter(TOPIC_LENGTH, 2, d, s)
    elif kind == CONNECT:
        enter(NAME_LENGTH, 2, d, s)
    elif kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
        enter(ACK, min(3, length), d, s)
    else:
        enter(REST, length, d, s)


def property_length_octet(octet: int, d: int, s: Words) -> None:
    """Section 2.2.2.1: the length of a PUBLISH's properties, one octet of it."""
    book(s, s[d + w.D_CLASS], w.PROPERTIES, 1)
    s[d + w.D_LEFT] -= 1
    s[d + w.D_VALUE] += (octet & 127) << s[d + w.D_SHIFT]
    s[d + w.D_SHIFT] += 7
    if octet & 128:
        if s[d + w.D_SHIFT] == 28 or s[d + w.D_LEFT] == 0:
            malformed(d, s)
        return
    enter(PROPERTIES, s[d + w.D_VALUE], d, s)


def advance(c: int, d: int, s: Words, m: Octets) -> None:
    """A phase is complete: go to the next one."""
    phase = s[d + w.D_PHASE]
    left = s[d + w.D_LEFT]
    if phase == TOPIC_LENGTH:
        enter(TOPIC, s[d + w.D_VALUE], d, s)
    elif phase == TOPIC and s[d + w.D_FLAGS] & 6:
        enter(IDENTIFIER, 2, d, s)
    elif phase in (TOPIC, IDENTIFIER):
        s[d + w.D_ID] = s[d + w.D_VALUE] if phase == IDENTIFIER else 0
        if s[c + w.C_VERSION] == 5:
            enter(PROPERTY_LENGTH, 1, d, s)
        else:
            s[d + w.D_PAYLOAD] = left
            enter(PAYLOAD, left, d, s)
    elif phase == PROPERTIES:
        s[d + w.D_PAYLOAD] = left
        enter(PAYLOAD, left, d, s)
    elif phase == ACK:
        enter(ACK_PROPERTIES, left, d, s)
    elif phase == NAME_LENGTH:
        enter(NAME, s[d + w.D_VALUE], d, s)
    elif phase == NAME:
        enter(LEVEL, 1, d, s)
    elif phase == LEVEL:
        s[c + w.C_VERSION] = s[d + w.D_VALUE] & 127  # bridges set the high bit
        s[c + w.C_CLIENT] = side_of(c, d)
        enter(REST, left, d, s)
    else:
        packet_done(c, d, s, m)
        begin(d, s)


def lose(count: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Octets are missing from the stream: go on inside the packet where it is longer, else look for the next one."""
    phase = s[d + w.D_PHASE]
    if phase in (SYNC, FIRST, LENGTH) or count > s[d + w.D_LEFT]:
        if phase not in (SYNC, FIRST):
            s[w.INCOMPLETE] += 1
        lose_sync(d, s)
        return
    s[d + w.D_DAMAGED] = 1
    if count <= s[d + w.D_NEED] and phase in (PAYLOAD, REST, PROPERTIES, ACK_PROPERTIES):
        s[d + w.D_NEED] -= count
        s[d + w.D_LEFT] -= count
    else:
        s[d + w.D_LEFT] -= count
        s[d + w.D_PHASE] = REST
        s[d + w.D_NEED] = s[d + w.D_LEFT]
    while s[d + w.D_NEED] == 0:
        advance(c, d, s, m)


def finish(d: int, s: Words) -> None:
    """The stream ends: a packet that has begun stays incomplete."""
    if s[d + w.D_PHASE] not in (SYNC, FIRST):
        s[w.INCOMPLETE] += 1
    lose_sync(d, s)
