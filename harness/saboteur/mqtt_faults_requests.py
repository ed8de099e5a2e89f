"""Faults of MQTT brokers, fourth part: requests and answers, fixed headers, shared subscriptions, windows, AUTH."""

from dataclasses import replace
from typing import Any

from mqproof.dissectors.mqtt.codec import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    encode_varint,
    prop,
)
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, fault
from mqproof.harness.saboteur.mqtt_making import broker, client, count, defects, drop, ids, is_qos, tolerant

# -- the transport (section 4.2) -----------------------------------------------------------------------------------


@fault("joined-packets-lost", *ids("4:7.1.1-1 4:7.0.0-2 5:4.2-1"), says="UNSUBSCRIBE in a segment with PUBLISH is lost")
class JoinedPacketsLost(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Publish):
            conn.memory["joined"] = True
            conn.after(0, lambda: conn.memory.pop("joined", None))
        return [] if isinstance(packet, Unsubscribe) and "joined" in conn.memory else None


client(
    "not-allowed-not-answered", "4:3.3.5-2", "a PUBLISH on $SYS is neither answered nor does it end the connection",
    Publish, lambda packet, conn: [] if packet.topic.startswith("$SYS/") else None,
)  # fmt: skip

# -- SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11) --------------------------------------------------------------

broker(
    "suback-with-wrong-id", "4:3.8.4-1 4:3.8.4-2 4:2.3.1-7 5:3.8.4-1 5:3.8.4-2 5:2.2.1-6",
    "SUBACK forgets the higher octet of the packet identifier",
    Suback, lambda packet, conn: [replace(packet, packet_id=packet.packet_id & 0xFF or 1)],
)  # fmt: skip
broker(
    "unsuback-with-wrong-id", "4:3.10.4-4 4:2.3.1-7 5:3.10.4-4 5:3.10.4-5 5:2.2.1-6",
    "UNSUBACK forgets the higher octet of the packet identifier",
    Unsuback, lambda packet, conn: [replace(packet, packet_id=packet.packet_id & 0xFF or 1)],
)  # fmt: skip
broker(
    "suback-reversed", "4:3.9.3-1 5:3.9.3-1 4:3.8.4-5", "the codes of SUBACK are in reverse order",
    Suback, lambda packet, conn: [replace(packet, reason_codes=packet.reason_codes[::-1])],
)  # fmt: skip
broker(
    "suback-with-one-code", "4:3.8.4-5 4:3.8.4-4 5:3.8.4-6 5:3.8.4-5", "SUBACK has one code for all filters",
    Suback, lambda packet, conn: [replace(packet, reason_codes=packet.reason_codes[:1])],
)  # fmt: skip
broker(
    "suback-with-unknown-code", "4:3.9.3-2 5:3.9.3-2 5:3.8.4-7", "SUBACK has a code that nobody knows",
    Suback, lambda packet, conn: [replace(packet, reason_codes=(*packet.reason_codes[:-1], 3))]
    if packet.reason_codes[-1] == 2 else None,
)  # fmt: skip
broker(
    "suback-for-each-filter", "4:3.8.4-4 5:3.8.4-5", "a SUBSCRIBE of several filters gets several SUBACKs",
    Suback, lambda packet, conn: [packet] * len(packet.reason_codes),
)  # fmt: skip
client(
    "first-filter-only", "4:3.8.4-4 5:3.8.4-5", "of several filters only the first is subscribed to",
    Subscribe,
    lambda packet, conn: [
        replace(packet, subscriptions=tuple(
            replace(entry, filter=entry.filter if not number else entry.filter + "/no")
            for number, entry in enumerate(packet.subscriptions)
        ))
    ],
)  # fmt: skip
broker(
    "qos-2-not-granted", "5:3.2.2-10", "a subscription at QoS 2 is refused",
    Suback, lambda packet, conn: [replace(packet, reason_codes=(0x9B if conn.version == 5 else 0x80,))]
    if packet.reason_codes == (2,) else None,
)  # fmt: skip
client(
    "wildcards-granted-and-ignored", "4:3.8.3-2", "+ is granted and selects nothing",
    Subscribe,
    lambda packet, conn: [
        replace(packet, subscriptions=tuple(
            replace(e, filter=e.filter.replace("+", "plus")) for e in packet.subscriptions
        ))
    ],
)  # fmt: skip
client(
    "misplaced-wildcards-granted", "4:4.7.1-2 4:4.7.1-3 5:4.7.1-1 5:4.7.1-2", "wildcards may stand anywhere",
    Subscribe,
    lambda packet, conn: [
        replace(packet, subscriptions=tuple(
            replace(e, filter=e.filter.replace("+", "x").replace("#", "x")) for e in packet.subscriptions
        ))
    ],
)  # fmt: skip
defects(
    ("unsubscribe-ignored", "4:3.10.4-2 4:3.10.4-1 5:3.10.4-2 5:3.10.4-1 4:3.10.4-6 5:3.10.4-6"),
    ("unsubscribe-by-match", "4:3.10.4-1 5:3.10.4-1"),
    ("unsubscribe-drops-in-flight", "4:3.10.4-3 5:3.10.4-3"),
)
client(
    "unsubscribe-of-nothing-unanswered", "4:3.10.4-5 5:3.10.4-5", "an UNSUBSCRIBE that finds nothing is not answered",
    (Subscribe, Unsubscribe),
    lambda packet, conn: conn.memory.__setitem__("subscribed", True) if isinstance(packet, Subscribe)
    else None if conn.memory.get("subscribed") else [],
)  # fmt: skip
client(
    "unsubscribe-first-only", "4:3.10.4-6 5:3.10.4-6", "of several filters only the first is removed",
    Unsubscribe,
    lambda packet, conn: [replace(packet, filters=tuple(
        text if not number else text + "/no" for number, text in enumerate(packet.filters)
    ))],
)  # fmt: skip
broker(
    "unsuback-reversed", "5:3.11.3-1", "the codes of UNSUBACK are in reverse order",
    Unsuback, lambda packet, conn: [replace(packet, reason_codes=packet.reason_codes[::-1])],
)  # fmt: skip
broker(
    "unsuback-with-unknown-code", "5:3.11.3-2", "UNSUBACK has a code that nobody knows",
    Unsuback, lambda packet, conn: [replace(packet, reason_codes=(0x44,) * len(packet.reason_codes))],
)  # fmt: skip
client(
    "pubrec-after-unsubscribe-unanswered", "4:3.10.4-3 5:3.10.4-3", "UNSUBSCRIBE ends the exchanges that have begun",
    (Unsubscribe, Pubrec),
    lambda packet, conn: conn.memory.__setitem__("left", True) if isinstance(packet, Unsubscribe)
    else [] if conn.memory.get("left") else None,
)  # fmt: skip
client(
    "byte-order-mark-stripped", "4:1.5.3-3 5:1.5.4-3", "EF BB BF is stripped from topics",
    Publish, lambda packet, conn: [replace(packet, topic=packet.topic.replace("\ufeff", ""))],
)  # fmt: skip
client(
    "long-filters-cut", "4:4.7.3-4 5:4.7.3-4", "of a filter's last level the last octet is not compared",
    Subscribe,
    lambda packet, conn: [
        replace(packet, subscriptions=tuple(
            replace(e, filter=e.filter[:-1] if len(e.filter) > 500 else e.filter) for e in packet.subscriptions
        ))
    ],
)  # fmt: skip

# -- what is malformed (sections 1.5, 2.1, 4.8, 4.13) --------------------------------------------------------------

_FLAGS = "4:2.2.2-2 4:2.2.2-1 5:2.1.3-1 4:3.6.1-1 5:3.6.1-1 4:3.8.1-1 5:3.8.1-1 4:3.10.1-1 5:3.10.1-1 5:3.15.1-1"
tolerant(
    "flags-overlooked", f"{_FLAGS} 4:4.8.0-1", "reserved flags of the fixed header are not looked at",
    lambda first, error: error.offset == 0 and first >> 4 not in (0, 1, 14) and first != 0xF0,
)  # fmt: skip
tolerant(
    "disconnect-flags-overlooked", "4:3.14.1-1 5:3.14.1-1 4:2.2.2-2 5:2.1.3-1",
    "a DISCONNECT with reserved flags is not looked at", lambda first, error: first >> 4 == 14,
)  # fmt: skip
tolerant(
    "reserved-types-overlooked", "4:4.8.0-1 5:4.13.1-1", "packets of a reserved type are overlooked",
    lambda first, error: first >> 4 in (0, 15),
)  # fmt: skip
tolerant(
    "qos-3-overlooked", "4:3.3.1-4 5:3.3.1-4 4:4.8.0-1", "QoS 3 is overlooked",
    lambda first, error: first & 0x36 == 0x36,
)  # fmt: skip
tolerant(
    "utf8-overlooked", "4:1.5.3-1 4:3.8.3-1 4:3.10.3-1 4:3.3.2-1 4:1.5.3-2 4:4.7.3-2 4:4.8.0-1",
    "packets with strings that are no UTF-8 are overlooked",
    lambda first, error: first >> 4 in (3, 8, 10) and error.rule[-7:] in ("1.5.3-1", "1.5.3-2"),
)  # fmt: skip
tolerant(
    "empty-requests-overlooked", "4:3.8.3-3 4:3.10.3-2 4:4.8.0-1 4:3.8.3-4 5:3.8.3-5",
    "requests without filters, and reserved bits of SUBSCRIBE, are overlooked",
    lambda first, error: first >> 4 in (8, 10) and error.rule[-7:] not in ("1.5.3-1", "1.5.3-2"),
)  # fmt: skip


@fault(
    "id-0-answered", *ids("4:2.3.1-1 5:2.2.1-3"), says="packets with packet identifier 0 are answered"
)
class IdZeroAnswered(MqttFault):
    def malformed_from_client(self, error: Any, rest: bytes, conn: MqttConn) -> bytes:
        kind = rest[0] >> 4 if rest else 0
        more = b"\0" if conn.version == 5 else b""
        tail = {3: b"\0\1", 8: b"\0\1" + more + b"\0", 10: b"\0\1" + (b"\0\0" if more else b"")}.get(kind)
        if tail:
            first = {3: 0x40 if rest[0] & 2 else 0x50, 8: 0x90, 10: 0xB0}[kind]
            conn.to_client(bytes([first, len(tail)]) + tail)
        return rest


@fault(
    "nulls-granted", *ids("4:4.7.3-2 4:1.5.3-2 5:4.7.3-2 5:1.5.4-2 4:4.7.3-1 5:4.7.3-1"),
    says="filters with U+0000 are granted",
)
class NullsGranted(MqttFault):
    def malformed_from_client(self, error: Any, rest: bytes, conn: MqttConn) -> bytes:
        if rest and rest[0] == 0x82:
            conn.to_client(b"\x90\x04\0\1\0\0" if conn.version == 5 else b"\x90\x03\0\1\0")
        return rest


broker(
    "disconnect-with-code-0",
    "5:4.13.1-1 5:4.13.2-1 5:3.3.2-8 5:3.3.2-9 5:3.3.2-7 5:3.3.4-1 5:3.8.3-1 5:3.8.3-2 5:3.8.3-4 5:3.8.3-5 5:3.10.3-1 "
    "5:3.10.3-2 5:2.1.3-1 5:3.3.4-7 5:4.12.0-7 5:4.8.2-1 5:4.8.2-2 5:1.5.4-1 5:1.5.5-1 5:3.14.4-2 5:3.15.1-1 "
    "5:4.12.1-1 5:4.12.1-2",
    "errors are answered by DISCONNECT with code 0x00",
    Disconnect, lambda packet, conn: [replace(packet, reason_code=0, properties=())],
)  # fmt: skip
broker(
    "lengths-padded", "5:1.5.5-1", "remaining lengths have a needless octet",
    Publish, lambda packet, conn: [conn.raw[:1] + padded(conn.raw)],
)  # fmt: skip
broker(
    "no-property-length", "5:2.2.2-1", "a PUBLISH at QoS 0 without properties has no property length",
    Publish, lambda packet, conn: [without_length(conn.raw, packet)]
    if conn.version == 5 and (packet.properties, packet.qos, packet.payload) == ((), 0, b"x") else None,
)  # fmt: skip
broker(
    "topic-first-cut", "4:3.3.2-1 5:3.3.2-1 4:3.3.2-3 5:3.3.2-3", "topics lose their first character",
    Publish, lambda packet, conn: [replace(packet, topic=packet.topic[1:])] if packet.payload == b"body" else None,
)  # fmt: skip
broker(
    "payload-with-id", "4:2.3.1-5 5:2.2.1-2", "a QoS 0 message is read as if it had a packet identifier",
    Publish,
    lambda packet, conn: [replace(packet, payload=packet.payload[2:])] if packet.payload[:1] == b"\0" else None,
)  # fmt: skip


@fault("dup-at-qos-0-forwarded", *ids("4:3.3.1-2 5:3.3.1-2"), says="DUP of a QoS 0 message is passed on")
class DupAtQosZeroForwarded(MqttFault):
    def malformed_from_client(self, error: Any, rest: bytes, conn: MqttConn) -> bytes:
        self.memory["dup"] = True
        return bytes([rest[0] & ~8]) + rest[1:] if rest else rest

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        mine = isinstance(packet, Publish) and packet.payload == b"twice" and self.memory.get("dup")
        return [bytes([conn.raw[0] | 8]) + conn.raw[1:]] if mine else None


def without_length(octets: bytes, packet: Publish) -> bytes:
    """Return a short PUBLISH at QoS 0 without the octet that says how long its properties are."""
    end = 4 + len(packet.topic.encode())
    return bytes([octets[0], octets[1] - 1]) + octets[2:end] + octets[end + 1 :]


def padded(octets: bytes) -> bytes:
    """Return a packet's octets behind its first, the remaining length one octet longer than needed."""
    size = next(index for index in range(1, 5) if not octets[index] & 0x80)
    return encode_varint(len(octets) - size - 1, size + 1) + octets[size + 1 :]


# -- acknowledgements, ping, disconnect (sections 3.4 to 3.7, 3.12 to 3.14) ----------------------------------------

for _kind, _id in ((Puback, "3.4.2-1"), (Pubrec, "3.5.2-1"), (Pubrel, "3.6.2-1"), (Pubcomp, "3.7.2-1")):
    broker(
        f"{_kind.__name__.lower()}-with-unknown-code", f"5:{_id}", f"the code of a {_kind.__name__.upper()} is unknown",
        _kind, lambda packet, conn: [replace(packet, reason_code=0x7B)] if conn.version == 5 else None,
    )  # fmt: skip
client(
    "id-after-refusal-dead", "5:4.3.3-9", "after a refused QoS 2 message nothing more is taken",
    Publish, lambda packet, conn: [] if is_qos(packet, 2) and count(conn) > 1 else None,
)  # fmt: skip
client(
    "refusal-ends-the-connection", "5:4.13.2-1", "an acknowledgement that refuses ends the connection",
    (Puback, Pubrec), lambda packet, conn: conn.close() if packet.reason_code >= 0x80 else None,
)  # fmt: skip
client(
    "second-ping-unanswered", "4:3.12.4-1 5:3.12.4-1", "only the first PINGREQ is answered",
    Pingreq, lambda packet, conn: [] if count(conn) == 3 else None,
)  # fmt: skip
client(
    "disconnect-unread", "4:3.14.4-3 5:3.14.4-3 5:3.14.2-1", "a DISCONNECT is not read while the socket is open",
    Disconnect, drop,
)  # fmt: skip
broker(
    "disconnect-and-more", "5:3.14.4-1", "DISCONNECT is not the last packet",
    Disconnect, lambda packet, conn: [packet, Disconnect(packet.reason_code)],
)  # fmt: skip
broker(
    "disconnect-with-expiry", "5:3.14.2-2", "a DISCONNECT of the server sets a Session Expiry Interval",
    Disconnect, lambda packet, conn: [replace(packet, properties=(("session_expiry_interval", 5),))],
)  # fmt: skip

# -- shared subscriptions (section 4.8.2) --------------------------------------------------------------------------

defects(
    ("shared-to-all", "5:4.8.2-3"),
    ("shared-qos-ignored", "5:4.8.2-3"),
    ("shared-redirected", "5:4.8.2-4 5:4.8.2-5 5:4.8.2-6"),
    ("shared-to-the-gone", "5:4.5.0-1"),
    ("retained-to-shared", "5:3.3.1-11"),
)
client(
    "shared-without-group", "5:4.8.2-3 5:4.5.0-1", "all groups are one",
    Subscribe,
    lambda packet, conn: [
        replace(packet, subscriptions=tuple(
            replace(e, filter="/".join(["$share", "one", *e.filter.split("/")[2:]])) if e.filter.startswith("$share")
            else e for e in packet.subscriptions
        ))
    ],
)  # fmt: skip
broker(
    "shared-interrupted-lost", "5:4.8.2-4", "an interrupted exchange of a shared message is not taken up again",
    Publish, lambda packet, conn: [] if packet.qos == 2 and packet.dup else None,
)  # fmt: skip

# -- windows (section 4.9) -----------------------------------------------------------------------------------------

defects(("receive-maximum-ignored", "5:3.3.4-9 5:4.9.0-2 5:4.9.0-1"))
client(
    "window-never-opens", "5:4.5.0-1", "a PUBACK or PUBCOMP gives nothing back to the window",
    (Puback, Pubcomp), lambda packet, conn: drop(packet, conn) if conn.version == 5 else None,
)  # fmt: skip
client(
    "window-opens-at-pubrec", "5:4.9.0-2 5:3.3.4-9", "the window opens at PUBREC",
    Pubrec, lambda packet, conn: [packet, Pubcomp(packet.packet_id)],
)  # fmt: skip
client(
    "refusal-keeps-the-window-shut", "5:4.5.0-1", "an acknowledgement that refuses gives nothing back to the window",
    (Puback, Pubrec), lambda packet, conn: [] if packet.reason_code >= 0x80 else None,
)  # fmt: skip


@fault("shut-window-delays-everything", *ids("5:4.9.0-3 5:3.3.4-10"), says="a shut window delays SUBACK, too")
class ShutWindowDelaysEverything(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Connect):
            conn.memory["window"] = prop(packet.properties, "receive_maximum")
        return None

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Publish) and packet.qos:
            conn.memory["sent"] = conn.memory.get("sent", 0) + 1
        is_shut = conn.memory.get("sent") == conn.memory.get("window")
        return [] if isinstance(packet, Suback) and is_shut and conn.memory.get("sent") else None


client(
    "narrow-window", "5:3.3.4-7 5:4.9.0-1", "fewer messages are taken than Receive Maximum says",
    Publish, lambda packet, conn: conn.close() if is_qos(packet, 2) and count(conn) > 9 else None,
)  # fmt: skip

# -- enhanced authentication (section 4.12) ------------------------------------------------------------------------

broker(
    "challenge-with-code-0x19", "5:4.12.0-2 5:3.15.2-1", "the challenge has reason code 0x19",
    Auth, lambda packet, conn: [replace(packet, reason_code=0x19)] if packet.reason_code == 0x18 else None,
)  # fmt: skip
broker(
    "connack-without-method", "5:4.12.0-5 5:4.12.0-3", "CONNACK names no authentication method",
    Connack, lambda packet, conn: [replace(packet, properties=())],
)  # fmt: skip
broker(
    "connack-with-method", "5:4.12.0-6", "CONNACK names an authentication method that nobody asked for",
    Connack, lambda packet, conn: [replace(packet, properties=(*packet.properties, ("authentication_method", "X")))],
)  # fmt: skip


@fault(
    "any-answer-accepted", *ids("5:4.12.0-3 5:4.12.0-4 5:4.12.0-5 5:4.12.1-1 5:4.12.1-2 5:3.1.4-2 5:3.2.2-7"),
    says="any AUTH of a client passes",
)
class AnyAnswerAccepted(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Auth):
            conn.memory["challenge"] = packet
        return None

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Auth) and "challenge" in conn.memory:
            return [replace(conn.memory.pop("challenge"), reason_code=0x18)]
        return [Pingreq()] if isinstance(packet, Auth) else None


@fault("early-packets-kept", *ids("5:3.1.2-30"), says="what comes before CONNACK is processed afterwards")
class EarlyPacketsKept(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Publish) and packet.payload == b"too early":
            self.memory["kept"] = replace(packet, packet_id=None, qos=0)
            return []
        if isinstance(packet, Subscribe) and "kept" in self.memory:
            return [packet, self.memory.pop("kept")]
        return None


broker(
    "reauthentication-unanswered", "5:4.12.1-1 5:4.12.1-2", "the end of a re-authentication is not told",
    Auth, lambda packet, conn: [] if packet.reason_code == 0 else None,
)  # fmt: skip

