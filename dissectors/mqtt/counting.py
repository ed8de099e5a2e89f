"""Kernel: what a complete MQTT packet counts for: its kind, its message, its topic, and what it gives away."""

from mqproof.dissectors.mqtt.finding import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
)
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.keys import find_key
from mqproof.dissectors.packets.state import Octets, Words


def class_of(kind: int, qos: int) -> int:
    """Return the class of a packet: whose it is, and to what purpose."""
    if kind == PUBLISH:
        return (w.G_QOS0 + qos) * w.PURPOSE_COUNT + w.P_APPLICATION
    if kind == PUBACK:
        return w.G_QOS1 * w.PURPOSE_COUNT + w.P_ACKNOWLEDGEMENT
    if kind in (PUBREC, PUBREL, PUBCOMP):
        return w.G_QOS2 * w.PURPOSE_COUNT + w.P_ACKNOWLEDGEMENT
    if kind in (PINGREQ, PINGRESP):
        return w.G_MQTT * w.PURPOSE_COUNT + w.P_KEEP_ALIVE
    return w.G_MQTT * w.PURPOSE_COUNT + w.P_SETUP


def inferred_version(kind: int, length: int) -> int:
    """Return the version that a packet's length gives away, 0 where it does not (the CONNECT was not seen)."""
    if kind in (CONNACK, UNSUBACK) and length == 2:
        return 4
    if kind == AUTH or (kind == DISCONNECT and length > 0):
        return 5
    return 5 if length > 2 and kind in (CONNACK, UNSUBACK, PUBACK, PUBREC, PUBREL, PUBCOMP) else 0


def side_of(c: int, d: int) -> int:
    """Return which side of the connection a direction is."""
    return 0 if d == c + w.CONN_HEAD else 1


def role_of(c: int, d: int, s: Words) -> int:
    """Return who sends in a direction."""
    client = s[c + w.C_CLIENT]
    if client < 0:
        return w.ROLE_UNKNOWN
    return w.ROLE_CLIENT if client == side_of(c, d) else w.ROLE_BROKER


def packet_done(c: int, d: int, s: Words, m: Octets) -> None:
    """Count a complete packet."""
    kind = s[d + w.D_KIND]
    if kind in (SUBSCRIBE, UNSUBSCRIBE, PINGREQ):
        s[c + w.C_CLIENT] = side_of(c, d)
    elif kind in (CONNACK, SUBACK, UNSUBACK, PINGRESP):
        s[c + w.C_CLIENT] = 1 - side_of(c, d)
    role = role_of(c, d, s)
    row = w.KINDS + (w.K_MQTT + kind) * w.KIND_WORDS
    s[row + w.N_COUNT] += 1
    s[row + w.N_BYTES] += s[d + w.D_SIZE]
    s[row + w.N_FROM_CLIENT] += 1 if role == w.ROLE_CLIENT else 0
    s[row + w.N_FROM_BROKER] += 1 if role == w.ROLE_BROKER else 0
    s[w.DAMAGED] += s[d + w.D_DAMAGED]
    s[c + w.C_FRAMES] += 1
    if kind == PUBLISH:
        s[row + w.N_PAYLOAD] += s[d + w.D_PAYLOAD]
        s[c + w.C_MESSAGES] += 1
        s[c + w.C_PAYLOAD] += s[d + w.D_PAYLOAD]
        message_done(role, d, s, m)


def message_done(role: int, d: int, s: Words, m: Octets) -> None:
    """Count a complete PUBLISH as an application message, and its topic."""
    flags = s[d + w.D_FLAGS]
    group = w.G_QOS0 + (flags >> 1 & 3)
    row = w.MESSAGES + (group * 4 + role) * w.MESSAGE_WORDS
    s[row + w.N_MESSAGES] += 1
    s[row + w.N_MESSAGE_PAYLOAD] += s[d + w.D_PAYLOAD]
    s[row + w.N_REPEATED] += flags >> 3
    s[row + w.N_RETAINED] += flags & 1
    s[row + w.N_FRAME_BYTES] += s[d + w.D_SIZE]
    entry = w.KEY_OTHER if s[d + w.D_DAMAGED] else find_key(w.G_MQTT, d, s, m)
    s[entry + w.KEY_CREDIT] += 1
    s[entry + (w.KEY_DELIVERED if role == w.ROLE_BROKER else w.KEY_PUBLISHED)] += 1
    s[entry + w.KEY_PAYLOAD] += s[d + w.D_PAYLOAD]
    s[entry + w.KEY_BYTES] += s[d + w.D_SIZE]
