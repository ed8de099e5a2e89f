"""Kernel: what a connection speaks, judged by the first octets or by a plausible chain of frames, not by its port."""

from mqproof.dissectors.amqp import finding as amqp_finding
from mqproof.dissectors.mqtt import finding as mqtt_finding
from mqproof.dissectors.mqtt.counting import side_of
from mqproof.dissectors.overhead import websocket
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets import tls
from mqproof.dissectors.packets.state import Octets, Words

AGAIN = -1  # too few octets to tell


def judge(buf: Octets, at: int, end: int, c: int, d: int, s: Words) -> int:
    """Return a protocol, UNKNOWN, or AGAIN for "not enough to tell"; D_STARTED where a frame begins here."""
    told = decoded_as(c, s)
    if told != w.UNKNOWN:
        return told
    beginning = begins(buf, at, end)
    if beginning != w.UNKNOWN:
        s[d + w.D_STARTED] = 1
        return beginning
    verdict = continues(buf, at, end)
    if verdict != w.UNKNOWN:
        s[d + w.D_STARTED] = 1
        return verdict
    if s[d + w.D_STARTED] and s[c + w.C_CLIENT] == side_of(c, d):
        return w.PLAIN_OTHER  # the client's first octets are there, and no protocol of ours begins so
    s[d + w.D_STARTED] = 0
    if amqp_finding.resync(buf, at, end) < end:
        return w.PLAIN_AMQP
    return w.PLAIN_MQTT if mqtt_finding.resync(buf, at, end, 0) < end else w.UNKNOWN


def decoded_as(c: int, s: Words) -> int:
    """Return what the user says is spoken on one of the connection's ports."""
    for i in range(s[w.DECODE_AS]):
        port = s[w.DECODE_TABLE + 2 * i]
        if port in (s[c + w.C_PORT_A], s[c + w.C_PORT_B]):
            return s[w.DECODE_TABLE + 2 * i + 1]
    return w.UNKNOWN


def continues(buf: Octets, at: int, end: int) -> int:
    """Judge a segment in the middle of a connection that begins with a frame."""
    if tls.plausible(buf, at, end):
        return w.OVER_TLS
    if amqp_finding.plausible(buf, at, end):
        return w.PLAIN_AMQP
    inside = websocket.plausible(buf, at, end)
    if inside:
        return inside
    return w.PLAIN_MQTT if mqtt_finding.plausible(buf, at, end, 0, 1) else w.UNKNOWN


def begins(buf: Octets, at: int, end: int) -> int:
    """Judge the first octets of a connection: AMQP 4.2.2, MQTT 5.0 3.1.2.1, TLS (RFC 8446 5.1)."""
    size = end - at
    if buf[at] == 0x41:  # "AMQP"
        for i in range(1, min(size, 4)):
            if buf[at + i] != (0x41, 0x4D, 0x51, 0x50)[i]:
                return w.UNKNOWN
        return w.PLAIN_AMQP if size >= 4 else AGAIN
    if buf[at] == 0x10:
        return begins_connect(buf, at, end)
    if buf[at] == 0x47:  # "GET "
        for i in range(1, min(size, 4)):
            if buf[at + i] != (0x47, 0x45, 0x54, 0x20)[i]:
                return w.UNKNOWN
        return w.HTTP if size >= 4 else AGAIN
    if buf[at] == 0x16 and (size < 2 or buf[at + 1] == 3):
        return w.OVER_TLS if size >= 3 else AGAIN
    return w.UNKNOWN


def begins_connect(buf: Octets, at: int, end: int) -> int:
    """Judge what may be a CONNECT: fixed header, then "MQTT" or "MQIs" with its length."""
    body = 0
    for i in range(1, 5):
        if at + i >= end:
            return AGAIN
        if buf[at + i] < 128:
            body = at + i + 1
            break
    if body == 0:
        return w.UNKNOWN
    name = (0, 4, 0x4D, 0x51)
    for i in range(4):
        if body + i >= end:
            return AGAIN
        if buf[body + i] != name[i] and not (i == 1 and buf[body + i] == 6):
            return w.UNKNOWN
    return w.PLAIN_MQTT
