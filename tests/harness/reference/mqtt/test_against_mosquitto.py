"""The same conversations with Mosquitto and with the reference broker; where they differ, the text decides.

Compared is what each client reads after each step: packets with flags, identifiers, properties that are no limits, and
whether the connection was closed. Not compared, because the text leaves it open: whether acknowledgements come before
messages, what a refusal says before the close, reason codes below 0x80 of PUBACK and PUBREC.
"""

import socket
from dataclasses import replace
from itertools import count

import pytest
from mqproof.dissectors.mqtt.codec import (
    Auth,
    Connack,
    Connect,
    Decoder,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    RawPacket,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
    encode,
)
from mqproof.dissectors.mqtt.tables import Version

V4, V5 = Version.V3_1_1, Version.V5_0
BOTH, ONLY5 = (V4, V5), (V5,)
LIMITS = {
    "receive_maximum", "maximum_packet_size", "topic_alias_maximum", "assigned_client_identifier", "server_keep_alive",
    "reason_string",
}  # fmt: skip
FRESH = count(1)
T = "mqproof/compare/"
S = Subscription


class Peer:
    """One client of a conversation."""

    def __init__(self, port, version):
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.version, self.accepted, self.closed = version, False, False
        self.decoder = Decoder(version)

    def send(self, *packets):
        try:
            self.socket.sendall(
                b"".join(packet if isinstance(packet, bytes) else encode(packet, self.version) for packet in packets)
            )
        except OSError:
            self.closed = True

    def read(self):
        """Everything up to the answer to a ping, or to the end of the connection."""
        found = []
        if self.accepted and not self.closed:
            self.send(Pingreq())
        while not self.closed:
            packet = self.decoder.next()
            if packet is None:
                self.fill()
            elif isinstance(packet, Pingresp):
                return found
            else:
                found.append(packet)
                if isinstance(packet, Connack) and packet.reason_code == 0:
                    self.accepted = True
                    self.send(Pingreq())
        return found

    def message(self):
        """What comes up to the next message, where nothing orders it behind an earlier step."""
        found = self.read()
        while not self.closed and not any(isinstance(packet, Publish) for packet in found):
            found += self.read()
        return found

    def cut(self):
        """End the connection without DISCONNECT, and return when the broker has seen it."""
        self.socket.shutdown(socket.SHUT_WR)
        while not self.closed:
            self.fill()
        self.socket.close()

    def fill(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self.closed = not data
        self.decoder.feed(data)


def seen(packets, closed):
    """What is compared of the packets."""
    if closed:
        packets = [packet for packet in packets if not isinstance(packet, Disconnect)]
        packets = [packet for packet in packets if not isinstance(packet, Connack) or packet.reason_code < 6]
    plain = []
    for packet in packets:
        properties = getattr(packet, "properties", ())
        if properties:
            kept = tuple(entry for entry in properties if entry[0] not in LIMITS)
            packet = replace(packet, properties=kept)
        if isinstance(packet, Puback | Pubrec) and packet.reason_code < 0x80:
            packet = replace(packet, reason_code=0)
        plain.append(packet)
    return sorted(plain, key=lambda packet: isinstance(packet, Publish)), closed


def converse(port, version, steps):
    """Return what every client saw after every step."""
    peers, log = {}, []
    try:
        for who, *packets in steps:
            if packets == ["cut"]:
                peers.pop(who).cut()
                continue
            if packets == ["message"]:
                log.append(seen(peers[who].message(), peers[who].closed))
                continue
            peer = peers.get(who) or peers.setdefault(who, Peer(port, version))
            peer.send(*packets)
            order = sorted(peers, key=lambda name, who=who: name != who)
            log.append({name: seen(peers[name].read(), peers[name].closed) for name in order})
    finally:
        for peer in peers.values():
            peer.socket.close()
    return log


def con(version, client_id=None, keep=False, **more):
    if keep:
        more |= {"clean_start": False}
        if version is V5:
            more["properties"] = (*more.get("properties", ()), ("session_expiry_interval", 100))
    return Connect(f"mqproofcmp{next(FRESH)}" if client_id is None else client_id, version=version, **more)


def pub(topic, payload=b"x", qos=0, packet_id=1, **more):
    return Publish(topic, payload, qos, packet_id=packet_id if qos else None, **more)


def sub(*filters, qos=2, packet_id=9, properties=()):
    entries = tuple(entry if isinstance(entry, S) else S(entry, qos) for entry in filters)
    return Subscribe(packet_id, entries, properties)


def one(version, *packets, **connect):
    return [("a", con(version, **connect)), *[("a", packet) for packet in packets]]


def two(version, *steps):
    return [("a", con(version)), ("b", con(version)), *steps]


def twice(packet, packet_id=1):
    """A whole QoS 2 exchange in one step, so that it does not matter when the message is passed on."""
    return packet, Pubrel(packet_id)


def corrupt(version, at, octet):
    whole = bytearray(encode(con(version, "mqproofbad"), version))
    whole[at] = octet
    return bytes(whole)


def will(version, *end, **more):
    watch = [("w", con(version)), ("w", sub(T + "will"))]
    return [*watch, ("a", con(version, will=Will(T + "will", b"gone", **more))), ("a", *end)]


def resume(v):
    name = f"mqproofcmp{next(FRESH)}"
    return [
        ("a", con(v, name, True)), ("a", sub(T + "s")), ("b", con(v)), ("b", pub(T + "s", b"1", 1)),
        ("b", *twice(pub(T + "s", b"2", 2))), ("b", *twice(pub(T + "s", b"3", 2, 2), 2)), ("a", Pubrec(2)),
        ("a", "cut"),
        ("b", pub(T + "s", b"4", 1)), ("b", pub(T + "s", b"5")), ("c", con(v, name, True)),
        ("c", Puback(1), Pubcomp(2), Pubrec(3)), ("c", Pubcomp(3)), ("c", Puback(4)),
        ("d", con(v, name)),  # leaves no session behind
    ]  # fmt: skip


def takeover(v, first=False, second=False):
    name = f"mqproofcmp{next(FRESH)}"
    return [("a", con(v, name, first)), ("b", con(v, name, second)), ("c", con(v, name))]


def retained(v):
    topic = T + "r"
    return [
        *two(v, ("b", pub(topic, b"k", 1, retain=True)), ("a", sub(topic)), ("a", sub(topic, qos=0))),
        ("b", pub(topic, b"l", 0, retain=True)), ("c", con(v)), ("c", sub(topic + "/#")),
        ("b", pub(topic, b"", 1, retain=True)), ("d", con(v)), ("d", sub(topic)),
    ]  # fmt: skip


def retain_handling(handling):
    def steps(v):
        topic = T + "h"
        entry = sub(S(topic, 1, retain_handling=handling))
        return one(v, pub(topic, b"k", 1, retain=True), entry, entry, pub(topic, b"", 1, retain=True))

    return steps


# name: (versions, steps)
CONVERSATIONS = {
    "levels of QoS": (BOTH, lambda v: two(
        v, ("a", sub(S(T + "0", 0), S(T + "1", 1), S(T + "2", 2))),
        *[("b", pub(T + str(granted), b"", qos, qos)) for granted in range(3) for qos in range(2)],
        *[("b", *twice(pub(T + str(granted), b"", 2))) for granted in range(3)])),
    "overlapping filters": (BOTH, lambda v: two(
        v, ("a", sub(S(T + "o/+", 0), S(T + "o/#", 2), S(T + "o/a", 1))), ("b", *twice(pub(T + "o/a", qos=2))))),
    "retained messages": (BOTH, retained),
    "resumed session": (BOTH, resume),
    "QoS 2 repeated": (BOTH, lambda v: two(
        v, ("a", sub(T + "d", qos=0)), ("b", pub(T + "d", qos=2), *twice(pub(T + "d", qos=2, dup=True))),
        ("b", *twice(pub(T + "d", b"y", 2))))),
    "QoS 2 repeated twice": (BOTH, lambda v: two(
        v, ("a", sub(T + "d", qos=0)), ("b", *[pub(T + "d", qos=2)] * 2, *twice(pub(T + "d", qos=2, dup=True))))),
    "QoS 1 repeated": (BOTH, lambda v: two(v, ("a", sub(T + "d", qos=0)), ("b", *[pub(T + "d", qos=1, dup=True)] * 2))),
    "unknown PUBREC": (BOTH, lambda v: one(v, Pubrec(33))),
    "unknown PUBREL": (BOTH, lambda v: one(v, Pubrel(33))),
    "unknown PUBACK and PUBCOMP": (BOTH, lambda v: one(v, Puback(33), Pubcomp(33))),
    "PUBACK for QoS 2": (BOTH, lambda v: two(v, ("a", sub("f")), ("b", *twice(pub("f", qos=2))), ("a", Puback(1)))),
    "PUBREC for QoS 1": (BOTH, lambda v: two(v, ("a", sub("f")), ("b", pub("f", qos=1)), ("a", Pubrec(1)))),
    "PUBCOMP before PUBREL": (BOTH, lambda v: two(
        v, ("a", sub("f")), ("b", *twice(pub("f", qos=2))), ("a", Pubcomp(1)))),
    "unsubscribing": (BOTH, lambda v: one(
        v, sub(T + "u/+", T + "u/a"), Unsubscribe(5, (T + "u/#", T + "u/+", "x")), pub(T + "u/b", qos=1),
        pub(T + "u/a", qos=1))),
    "dollar topics": (BOTH, lambda v: two(v, ("a", sub("$x/#", "+/y", "#")), ("b", pub("$x/y", qos=1)))),
    "$SYS from a client": (BOTH, lambda v: two(
        v, ("a", sub("$SYS/y")), ("b", pub("$SYS/y", qos=1)), ("b", pub("$SYS/y", qos=2)))),
    "share prefix in 3.1.1": ((V4,), lambda v: two(v, ("a", sub("$share/g/t")), ("b", pub("t", qos=1)))),
    "second CONNECT": (BOTH, lambda v: one(v, con(v))),
    "takeover": (BOTH, takeover),
    "takeover of a session": (BOTH, lambda v: takeover(v, True, True)),
    "takeover of a clean session": (BOTH, lambda v: takeover(v, False, True)),
    "will after a cut": (BOTH, lambda v: [*will(v, "cut", qos=2), ("w", "message")]),
    "will after an error": (BOTH, lambda v: [*will(v, RawPacket(0), qos=1), ("w", Pingreq())]),
    "will after DISCONNECT": (BOTH, lambda v: [*will(v, Disconnect()), ("w", Pingreq())]),
    "will after DISCONNECT 0x04": (ONLY5, lambda v: [*will(v, Disconnect(4)), ("w", Pingreq())]),
    "will topic with a wildcard": (BOTH, lambda v: one(v, will=Will("a/#"))),
    "will topic without text": (BOTH, lambda v: one(v, will=Will(""))),
    "no client id": (BOTH, lambda v: one(v, client_id="")),
    "no client id, no clean start": (BOTH, lambda v: one(v, client_id="", keep=True)),
    "CONNECT is not first": (BOTH, lambda v: [("a", Pingreq())]),
    "protocol level 6": (BOTH, lambda v: [("a", corrupt(v, 8, 6))]),
    "protocol name": (BOTH, lambda v: [("a", corrupt(v, 4, 0x58))]),
    "reserved connect flag": (BOTH, lambda v: [("a", corrupt(v, 9, 3))]),
    "will QoS 3": (BOTH, lambda v: [("a", corrupt(v, 9, 0x1E))]),
    "will retain without will": (BOTH, lambda v: [("a", corrupt(v, 9, 0x22))]),
    "CONNECT flags": (BOTH, lambda v: [("a", corrupt(v, 0, 0x11))]),
    **{f"invalid filter {text!r}": (BOTH, lambda v, text=text: [
        *one(v, sub(text)), ("b", con(v)), ("b", Unsubscribe(1, (text,)))]) for text in (
            "a#", "#/a", "a+", "a/#/b", "")},
    **{f"invalid topic {text!r}": (BOTH, lambda v, text=text: one(v, pub(text))) for text in ("a/+", "#", "", "a\0")},
    **{f"first octet 0x{first:02X}": (BOTH, lambda v, first=first: one(
        v, RawPacket(first, b"\0\1\0\0\1a\0"))) for first in (
            0x00, 0x36, 0x38, 0x41, 0x60, 0x80, 0xA0, 0xC1, 0xE1, 0xF0)},
    "packet id 0": (BOTH, lambda v: [
        *one(v, pub("t", qos=1, packet_id=0)), ("b", con(v)), ("b", sub("t", packet_id=0))]),
    "SUBSCRIBE for nothing": (BOTH, lambda v: one(v, sub())),
    "UNSUBSCRIBE from nothing": (BOTH, lambda v: one(v, Unsubscribe(1, ()))),
    "QoS 3 asked for": (BOTH, lambda v: one(v, sub(S("t", 3)))),
    "reserved options": (BOTH, lambda v: one(v, encode(sub("t"), v)[:-1] + b"\xc1")),
    "topic alias": (ONLY5, lambda v: one(
        v, sub(T + "a"), pub(T + "a", b"1", properties=(("topic_alias", 3),)),
        pub("", b"2", properties=(("topic_alias", 3),)))),
    "topic alias 0": (ONLY5, lambda v: one(v, pub("t", properties=(("topic_alias", 0),)))),
    "topic alias unknown": (ONLY5, lambda v: one(v, pub("", properties=(("topic_alias", 3),)))),
    "topic alias too high": (ONLY5, lambda v: one(v, pub("t", properties=(("topic_alias", 1000),)))),
    "subscription identifier": (ONLY5, lambda v: one(
        v, sub(T + "i/+", properties=(("subscription_identifier", 5),)), pub(T + "i/a", qos=1))),
    "subscription identifier 0": (ONLY5, lambda v: one(v, sub("t", properties=(("subscription_identifier", 0),)))),
    "subscription identifier in PUBLISH": (ONLY5, lambda v: one(
        v, pub("t", properties=(("subscription_identifier", 3),)))),
    "overlapping identifiers": (ONLY5, lambda v: one(
        v, sub(T + "i/+", properties=(("subscription_identifier", 5),)),
        sub(T + "i/#", properties=(("subscription_identifier", 6),)), pub(T + "i/a"))),
    "no local": (ONLY5, lambda v: two(v, ("a", sub(S("n", 1, True))), ("a", pub("n", qos=1)), ("b", pub("n", qos=1)))),
    "no local and retained": (ONLY5, lambda v: one(
        v, pub(T + "n", b"k", 1, retain=True), sub(S(T + "n", 1, True)), pub(T + "n", b"", 1, retain=True))),
    "no local and shared": (ONLY5, lambda v: one(v, sub(S("$share/g/t", 1, True)))),
    "retain as published": (ONLY5, lambda v: one(
        v, sub(S(T + "p", 1, retain_as_published=True)), pub(T + "p", b"k", 1, retain=True), pub(T + "p", b"l", 1),
        pub(T + "p", b"", 1, retain=True))),
    **{f"retain handling {number}": (ONLY5, retain_handling(number)) for number in range(4)},
    **{f"shared filter {text!r}": (ONLY5, lambda v, text=text: one(v, sub(text))) for text in (
        "$share/g/t", "$share/g", "$share//t", "$share/g/", "$share/+/t")},
    "shared messages": (ONLY5, lambda v: [
        *two(v, ("a", sub("$share/g/" + T + "q")), ("b", sub("$share/g/" + T + "q"))), ("c", con(v)),
        *[("c", pub(T + "q", b"%d" % number, 1)) for number in range(4)]]),
    "properties in order": (ONLY5, lambda v: one(v, sub(T + "p"), pub(T + "p", properties=(
        ("user_property", ("b", "1")), ("content_type", "c"), ("payload_format_indicator", 1),
        ("user_property", ("a", "2")), ("response_topic", "r"), ("correlation_data", b"d"),
        ("message_expiry_interval", 50))))),
    "response topic with a wildcard": (ONLY5, lambda v: one(v, pub("t", properties=(("response_topic", "a/#"),)))),
    "payload format 2": (ONLY5, lambda v: one(v, pub("t", properties=(("payload_format_indicator", 2),)))),
    "receive maximum 0": (ONLY5, lambda v: one(v, properties=(("receive_maximum", 0),))),
    "property twice": (ONLY5, lambda v: one(v, properties=(("receive_maximum", 5), ("receive_maximum", 5)))),
    "authentication data alone": (ONLY5, lambda v: one(v, properties=(("authentication_data", b"x"),))),
    "unknown authentication method": (ONLY5, lambda v: one(v, properties=(("authentication_method", "x"),))),
    "AUTH from nowhere": (ONLY5, lambda v: one(v, Auth(0x19, (("authentication_method", "x"),)))),
    "expiry raised by DISCONNECT": (ONLY5, lambda v: one(v, Disconnect(0, (("session_expiry_interval", 5),)))),
    "DISCONNECT of a server": (ONLY5, lambda v: one(v, Disconnect(0x8E))),
    "undefined PUBACK code": (ONLY5, lambda v: two(v, ("a", sub("f")), ("b", pub("f", qos=1)), ("a", Puback(1, 0x11)))),
    "refused QoS 2": (ONLY5, lambda v: two(
        v, ("a", sub("f")), ("b", *twice(pub("f", qos=2))), ("a", Pubrec(1, 0x80)), ("b", *twice(pub("f", qos=2))))),
    "receive maximum of a client": (ONLY5, lambda v: [
        ("a", con(v, properties=(("receive_maximum", 1),))), ("a", sub(T + "m")), ("b", con(v)),
        *[("b", pub(T + "m", b"%d" % number, 1)) for number in range(3)], ("a", Puback(1)), ("a", Puback(2))]),
    "maximum packet size of a client": (ONLY5, lambda v: [
        ("a", con(v, properties=(("maximum_packet_size", 50),))), ("a", sub(T + "z")), ("b", con(v)),
        ("b", pub(T + "z", b"x" * 60, 1)), ("b", pub(T + "z", b"y", 1))]),
    "packet id held by QoS 2": (ONLY5, lambda v: one(v, pub("t", qos=2), sub("t", packet_id=1))),
}  # fmt: skip

# What Mosquitto 2.0.11 does otherwise, and what the text says. "tolerated": the text prescribes no reaction.
DIFFERENCES = {
    "QoS 2 repeated twice": "MQTT-4.3.3-2; 5.0: MQTT-4.3.3-10: Mosquitto closes on the third PUBLISH",
    "overlapping filters": "MQTT-3.3.5-1: Mosquitto's one copy has QoS 1 where 2 was granted; in 5.0 three copies",
    "share prefix in 3.1.1": "3.1.1 knows no shared subscriptions (4.7): Mosquitto has them in 3.1.1 too",
    "first octet 0x41": "flags of PUBACK must be 0 (MQTT-2.2.2-2; 5.0: MQTT-2.1.3-1): Mosquitto ignores them",
    "first octet 0xC1": "flags of PINGREQ must be 0: Mosquitto ignores them",
    "unknown PUBREC": "tolerated: we answer 0x92 (table 3-7)",
    "unknown PUBREL": "tolerated: we answer 0x92 (table 3-8)",
    "subscription identifier in PUBLISH": "MQTT-3.3.4-6, a protocol error: Mosquitto ignores it",
    "overlapping identifiers": "both allowed (3.3.4): Mosquitto sends two copies, we send one",
    "no local and retained": "MQTT-3.8.3-3 exempts nothing: Mosquitto sends the publisher's own retained message",
    "no local and shared": "MQTT-3.8.3-4, a protocol error: Mosquitto grants it",
    "shared filter '$share/g'": "MQTT-4.8.2-2: Mosquitto grants it",
    "shared filter '$share//t'": "MQTT-4.8.2-1: Mosquitto grants it",
    "shared filter '$share/g/'": "MQTT-4.7.3-1: Mosquitto grants it",
    "shared filter '$share/+/t'": "MQTT-4.8.2-2: Mosquitto grants it",
    "response topic with a wildcard": "MQTT-3.3.2-14: Mosquitto ignores it",
    "payload format 2": "3.3.2.3.2 knows 0 and 1: Mosquitto passes it on",
    "authentication data alone": "3.1.2.11.10, a protocol error: Mosquitto ignores it",
    "undefined PUBACK code": "MQTT-3.4.2-1: Mosquitto ignores it",
    "packet id held by QoS 2": "tolerated: we answer 0x91 (3.9.3)",
}
CASES = [(name, version) for name, (versions, _) in CONVERSATIONS.items() for version in versions]


@pytest.fixture(scope="module")
def ours():
    from mqproof.harness.reference.mqtt.server import start_in_thread

    with start_in_thread() as handle:
        yield handle.port


def differs(name, version, ours, mosquitto):
    """Whether the two differ, with both logs for the message."""
    (target,) = mosquitto.targets
    make = CONVERSATIONS[name][1]
    logs = [converse(port, version, make(version)) for port in (ours, target.port)]
    return logs[0] != logs[1], logs


@pytest.mark.parametrize(("name", "version"), [case for case in CASES if case[0] not in DIFFERENCES])
def test_both_say_the_same(name, version, ours, mosquitto):
    different, (mine, theirs) = differs(name, version, ours, mosquitto)
    assert not different, f"ours {mine}\nmosquitto {theirs}"


@pytest.mark.parametrize("name", DIFFERENCES)
def test_known_differences_are_still_there(name, ours, mosquitto):
    assert any(differs(name, version, ours, mosquitto)[0] for version in CONVERSATIONS[name][0])
