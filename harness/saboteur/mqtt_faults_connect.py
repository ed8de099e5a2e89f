"""Faults of MQTT brokers, second part: CONNECT and CONNACK, sessions, wills, limits."""

from dataclasses import replace
from typing import Any

from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt.codec import Auth, Connack, Connect, Disconnect, Pingreq, Pingresp, Publish, prop
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, fault
from mqproof.harness.saboteur.mqtt_making import (
    after_first,
    answer,
    broker,
    client,
    count,
    defects,
    drop,
    ids,
    tolerant,
    with_property,
    without,
)


@fault("disconnect-before-connack", *ids("5:3.14.0-1"), says="what came with CONNECT is judged before CONNACK goes out")
class DisconnectBeforeConnack(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Disconnect):
            conn.memory.clear()
        if not isinstance(packet, Connack):
            return None
        conn.memory["waits"] = packet
        conn.after(0.02, lambda: conn.to_client(conn.memory.pop("waits")) if conn.memory else None)
        return []


# -- the format of CONNECT (sections 3.1.2, 3.1.3) -----------------------------------------------------------------


def is_connect(first: int, error: Malformed) -> bool:
    """Whether a malformed packet is a CONNECT."""
    return first >> 4 == 1


tolerant(
    "connect-format-overlooked",
    "4:3.1.4-1 5:3.1.4-1 4:3.1.2-3 5:3.1.2-3 4:3.1.2-22 4:3.1.2-1 5:3.1.2-1 4:3.1.2-2 5:3.1.2-2 4:2.2.2-2 5:2.1.3-1 "
    "4:3.2.2-5 5:3.2.2-7 5:4.13.2-1 4:3.1.2-9 5:3.1.2-9 4:3.1.2-11 5:3.1.2-11 4:3.1.2-13 5:3.1.2-13 4:3.1.2-15 "
    "4:3.1.2-18 5:3.1.2-18 4:3.1.2-19 5:3.1.2-19 4:3.1.2-20 4:3.1.2-21 5:3.1.2-16 5:3.1.2-17 "
    "4:3.1.3-3 5:3.1.3-3 4:3.1.3-4 5:3.1.3-4 4:3.1.3-10 5:3.1.3-11 4:3.1.3-11 5:3.1.3-12",
    "a CONNECT of wrong format is neither answered nor does it end the connection", is_connect,
)  # fmt: skip
client(
    "will-fields-swapped", "4:3.1.3-1 5:3.1.3-1", "the topic of a will is read behind its message", Connect,
    lambda packet, conn: with_will(packet, topic=packet.will.payload.decode("utf-8", "replace"),
                                   payload=packet.will.topic.encode()) if packet.will else None,
)  # fmt: skip
tolerant(
    "first-packet-not-connect-overlooked", "4:3.1.0-1 4:4.8.0-1", "malformed packets before CONNECT are overlooked",
    lambda first, error: first >> 4 != 1,
)  # fmt: skip


@fault(
    "refused-connect-answered",
    *ids("4:3.1.4-1 4:3.2.2-6 5:3.2.2-8 5:3.2.2-7 5:3.2.2-6 4:3.1.2-1 5:3.1.2-1 4:3.1.2-2 4:3.2.2-4 5:3.1.2-2"),
    says="a malformed CONNECT is answered by a CONNACK that says yes",
)
class RefusedConnectAnswered(MqttFault):
    def malformed_from_client(self, error: Malformed, rest: bytes, conn: MqttConn) -> bytes:
        if rest and rest[0] >> 4 == 1:
            conn.to_client(b"\x20\x02\x01\x00")
        return rest


@fault("refused-connect-told-why", *ids("4:3.1.4-1 4:3.2.2-6"), says="a malformed CONNECT is answered by code 2")
class RefusedConnectToldWhy(MqttFault):
    def malformed_from_client(self, error: Malformed, rest: bytes, conn: MqttConn) -> bytes:
        if rest[:1] == b"\x10":
            conn.to_client(b"\x20\x02\x00\x02")
        return rest


@fault("refused-connect-answered-oddly", *ids("5:3.2.2-8"), says="CONNACK has a reason code that nobody knows")
class RefusedConnectAnsweredOddly(MqttFault):
    def malformed_from_client(self, error: Malformed, rest: bytes, conn: MqttConn) -> bytes:
        if rest[:1] == b"\x10":
            conn.to_client(b"\x20\x03\0\x7b\0")
        return rest


@fault(
    "refused-connect-read-on", *ids("4:3.1.4-5 5:3.1.4-6"), says="what follows a refused CONNECT is processed, too"
)
class RefusedConnectReadOn(MqttFault):
    def malformed_from_client(self, error: Malformed, rest: bytes, conn: MqttConn) -> bytes:
        if not rest or rest[0] >> 4 != 1:
            return rest
        conn.memory["refused"] = True
        opening = b"\x10\x12\0\4MQTT\4\2\0\0\0\6sneak" + bytes([65 + count(conn)])
        return opening + after_first(rest)

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        is_answer = isinstance(packet, Connack) and conn.memory.get("refused")
        return [replace(packet, reason_code=1)] if is_answer else None


client(
    "first-packet-anything", "4:3.1.0-1 4:4.8.0-1", "packets before CONNECT are overlooked",
    object, lambda packet, conn: None if conn.memory.setdefault("connected", isinstance(packet, Connect)) else [],
)  # fmt: skip


@fault(
    "speaks-before-connack", *ids("5:3.14.0-1 5:3.2.0-1"), says="DISCONNECT comes where there was no CONNACK"
)
class SpeaksBeforeConnack(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if not conn.memory.setdefault("connected", isinstance(packet, Connect)):
            self._speak(conn)
        return None

    def malformed_from_client(self, error: Malformed, rest: bytes, conn: MqttConn) -> bytes:
        if "connected" not in conn.memory:
            self._speak(conn)
        return rest

    def _speak(self, conn: MqttConn) -> None:
        conn.to_client(b"\xe0\x01\x82")


client(
    "second-connect-overlooked", "4:3.1.0-2 5:3.1.0-2 4:4.8.0-1 5:4.13.1-1", "a second CONNECT is overlooked",
    Connect, lambda packet, conn: [] if count(conn) > 1 else None,
)  # fmt: skip
broker(
    "connack-late", "4:3.2.0-1 5:3.2.0-1", "a message comes before CONNACK",
    Connack, lambda packet, conn: [Publish("early"), packet] if packet.session_present else None,
)  # fmt: skip
broker(
    "connack-twice", "5:3.2.0-2", "CONNACK comes twice", Connack, lambda packet, conn: [packet, packet],
)  # fmt: skip
broker(
    "session-present-always",
    "4:3.2.2-3 4:3.2.2-1 5:3.2.2-2 5:3.2.2-3 5:3.1.2-4 4:3.1.2-6 5:3.1.2-6 5:4.1.0-2",
    "Session Present is always 1",
    Connack, lambda packet, conn: [replace(packet, session_present=packet.reason_code == 0)],
)  # fmt: skip
broker(
    "session-present-never",
    "4:3.2.2-2 5:3.2.2-3 4:3.1.2-4 5:3.1.2-5 5:3.1.2-6 5:3.2.2-1 5:3.1.2-23",
    "Session Present is never 1",
    Connack, lambda packet, conn: [replace(packet, session_present=False)],
)  # fmt: skip
broker(
    "refusal-with-session-present", "4:3.2.2-4 5:3.2.2-6", "a refusing CONNACK has Session Present 1",
    Connack, lambda packet, conn: [replace(packet, session_present=True)] if packet.reason_code else None,
)  # fmt: skip
broker(
    "refusal-with-unknown-code", "5:3.2.2-8 4:3.1.3-9 5:3.1.3-8 4:3.1.3-8 5:4.12.0-1 5:4.12.0-4 5:3.1.4-2",
    "a refusing CONNACK has a reason code that nobody knows",
    Connack, lambda packet, conn: [replace(packet, reason_code=0x7B)] if packet.reason_code else None,
)  # fmt: skip
broker(
    "connack-with-reserved-flag", "5:3.2.2-1", "a reserved flag of CONNACK is 1",
    Connack,
    lambda packet, conn: [bytes((conn.raw[0], conn.raw[1], conn.raw[2] | 2)) + conn.raw[3:]] if packet.session_present
    else None,
)  # fmt: skip

# -- client identifiers (section 3.1.3.1) --------------------------------------------------------------------------


def refuse(conn: MqttConn) -> MqttResult:
    """Answer a CONNECT by "identifier rejected"."""
    conn.to_client(Connack(False, 0x85 if conn.version == 5 else 2))
    return []


client(
    "identifiers-of-14-refused", "4:3.1.3-5 5:3.1.3-5", "identifiers of 14 characters are refused",
    Connect, lambda packet, conn: refuse(conn) if len(packet.client_id) == 14 else None,
)  # fmt: skip
client(
    "identifiers-without-capitals", "4:3.1.3-5 5:3.1.3-5", "identifiers with a capital Q are refused",
    Connect, lambda packet, conn: refuse(conn) if "Q" in packet.client_id else None,
)  # fmt: skip
client(
    "odd-identifiers-refused-without-closing", "4:3.1.3-9 5:3.1.3-8 5:3.2.2-7", "a refused identifier closes nothing",
    (Connect, Pingreq),
    lambda packet, conn: refuse(conn) if isinstance(packet, Connect) and "x" * 99 in packet.client_id
    else answer(conn, Pingresp()) if isinstance(packet, Pingreq) else None,
)  # fmt: skip
defects(
    ("assigned-id-constant", "4:3.1.3-6 5:3.1.3-6 5:3.2.2-16"),
    ("takeover-ignored", "4:3.1.4-2 5:3.1.4-3"),
    ("client-id-shared-state", "4:3.1.3-2 5:3.1.3-2"),
    ("login-ignored", "5:3.1.4-2"),
)
client(
    "identifiers-without-case", "4:3.1.3-2 5:3.1.3-2", "identifiers that differ in case only are one",
    Connect, lambda packet, conn: [replace(packet, client_id=packet.client_id.lower())],
)  # fmt: skip
broker(
    "assigned-id-untrue", "5:3.1.3-7 5:3.2.2-16", "the assigned identifier is not the one that is used",
    Connack,
    lambda packet, conn: [with_property(packet, "assigned_client_identifier", lambda name: name + "x")]
    if prop(packet.properties, "assigned_client_identifier") else None,
)  # fmt: skip
client(
    "empty-id-accepted-for-a-stored-session", "4:3.1.3-8 4:3.1.3-7", "an empty identifier is accepted in any case",
    Connect, lambda packet, conn: [replace(packet, clean_start=True)] if not packet.client_id else None,
)  # fmt: skip
broker(
    "taken-over-with-code-0", "5:3.1.4-3", "a connection that is taken over is told code 0",
    Disconnect, lambda packet, conn: [replace(packet, reason_code=0)] if packet.reason_code == 0x8E else None,
)  # fmt: skip
broker(
    "taken-over-with-unknown-code", "5:3.14.2-1", "a DISCONNECT has a reason code that nobody knows",
    Disconnect, lambda packet, conn: [replace(packet, reason_code=0xA7)],
)  # fmt: skip


@fault("newer-connection-loses", *ids("4:3.1.4-2 5:3.1.4-3"), says="the newer connection of a client is closed")
class NewerConnectionLoses(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Connect):
            first = self.memory.setdefault(packet.client_id, conn)
            conn.memory["loses"] = first is not conn and packet.client_id
        elif conn.memory.get("loses"):
            conn.close()
        return None


# -- sessions (sections 3.1.2.4, 4.1) ------------------------------------------------------------------------------

defects(
    ("session-forgotten", "4:3.1.2-4 4:3.2.2-2 4:4.1.0-1 5:3.1.2-5 5:3.2.2-3 5:3.1.2-23 5:3.1.2-6"),
    ("session-kept", "4:3.1.2-6 5:3.1.2-4 4:3.1.4-3 5:3.1.4-4 4:3.2.2-1 5:3.2.2-2"),
    ("session-expiry-of-connect", "5:4.1.0-2"),
    ("subscriptions-forgotten", "4:3.1.2-4 5:3.1.2-5 4:4.1.0-1"),
    ("offline-messages-lost", "4:3.1.2-5 4:4.5.0-1 5:4.5.0-1"),
    ("in-flight-lost", "4:4.4.0-1 5:4.4.0-1 4:4.1.0-1"),
    ("offline-reversed", "4:4.6.0-6 5:4.6.0-5 4:3.1.2-5"),
)
client(
    "sessions-kept-for-everybody", "5:4.1.0-2", "every session is stored for two minutes",
    Connect,
    lambda packet, conn: [with_property(packet, "session_expiry_interval", lambda seconds: seconds or 120)]
    if conn.version == 5 else None,
)  # fmt: skip
client(
    "clean-sessions-stored", "4:3.1.2-6", "a clean session is stored, too",
    Connect, lambda packet, conn: [replace(packet, clean_start=False)] if conn.version == 4 else None,
)  # fmt: skip
client(
    "disconnect-without-properties", "5:4.1.0-2", "a Session Expiry Interval in DISCONNECT is not read",
    Disconnect, lambda packet, conn: [replace(packet, properties=())],
)  # fmt: skip
client(
    "expiry-of-disconnect-obeyed-blindly", "5:4.1.0-2", "DISCONNECT can store a session that CONNECT did not ask for",
    Connect,
    lambda packet, conn: [replace(packet, properties=(*packet.properties, ("session_expiry_interval", 1)))]
    if conn.version == 5 and prop(packet.properties, "session_expiry_interval") is None else None,
)  # fmt: skip


@fault("open-session-forgets", *ids("4:4.1.0-2 4:4.1.0-1 5:4.1.0-1"), says="a DUP PUBLISH starts a new exchange")
class OpenSessionForgets(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Publish) and packet.qos == 2 and packet.dup and packet.packet_id:
            return [replace(packet, qos=0, packet_id=None, dup=False), packet]
        return None


# -- wills (section 3.1.2.5) ---------------------------------------------------------------------------------------

defects(
    ("will-lost", "4:3.1.2-8 5:3.1.2-8 5:3.1.2-7 4:3.14.1-1 5:3.14.1-1"),
    ("will-after-disconnect", "4:3.1.2-10 4:3.14.4-3 5:3.1.2-10 5:3.14.4-3 4:3.1.2-12"),
    ("will-not-after-cut", "4:3.1.2-8 5:3.1.2-8"),
    ("will-not-retained", "4:3.1.2-17 5:3.1.2-15"),
    ("will-always-retained", "4:3.1.2-16 5:3.1.2-14"),
    ("will-waits-for-delay", "5:3.1.2-8"),
    ("will-twice", "4:3.1.2-10 5:3.1.2-10"),
    ("will-properties-lost", "5:3.1.3-10 5:3.3.2-4 5:3.3.2-15 5:3.3.2-16 5:3.3.2-20"),
)


@fault("old-will-used-again", *ids("4:3.1.2-12 4:3.1.2-10 5:3.1.2-10"), says="a session keeps its will for good")
class OldWillUsedAgain(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if not isinstance(packet, Connect):
            return None
        if packet.will is not None:
            self.memory[packet.client_id] = packet.will
        return [replace(packet, will=self.memory.get(packet.client_id))]


def with_will(packet: Connect, **changes: Any) -> MqttResult:
    """Return the CONNECT with a changed will."""
    return [replace(packet, will=replace(packet.will, **changes))] if packet.will else None


client(
    "will-qos-lowered", "4:3.8.4-6 5:3.8.4-8", "wills are published at QoS 0",
    Connect, lambda packet, conn: with_will(packet, qos=0),
)  # fmt: skip
client(
    "will-properties-sorted", "5:3.1.3-10", "the user properties of a will are sorted",
    Connect,
    lambda packet, conn: with_will(packet, properties=tuple(sorted(packet.will.properties))) if packet.will else None,
)  # fmt: skip
client(
    "code-4-is-code-0", "5:3.1.2-8", "DISCONNECT 0x04 drops the will, too",
    Disconnect, lambda packet, conn: [replace(packet, reason_code=0)] if packet.reason_code == 4 else None,
)  # fmt: skip

# -- limits (sections 3.1.2.11, 3.2.2.3) ---------------------------------------------------------------------------

defects(
    ("too-large-sent", "5:3.1.2-24 5:3.1.2-25"),
    ("too-large-blocks", "5:3.1.2-25 5:3.1.2-24"),
)


@fault(
    "client-limit-unread",
    *ids(
        "5:3.2.2-19 5:3.2.2-20 5:3.9.2-1 5:3.9.2-2 5:3.11.2-1 5:3.11.2-2 5:3.14.2-3 5:3.14.2-4 5:3.15.2-2 5:3.15.2-3 "
        "5:3.4.2-2 5:3.4.2-3 5:3.5.2-2 5:3.5.2-3 5:3.6.2-2 5:3.6.2-3 5:3.7.2-2 5:3.7.2-3"
    ),
    says="the client's Maximum Packet Size does not hold for anything but messages",
)
class ClientLimitUnread(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if conn.version != 5 or not hasattr(packet, "properties") or isinstance(packet, Publish):
            return None
        if isinstance(packet, Connack) and not packet.reason_code:
            return None
        others = [pair for pair in packet.properties if pair[0] != "reason_string"]
        return [replace(packet, properties=(*others, ("reason_string", "x" * 80)))]


@fault("reasons-for-everybody", *ids("5:3.1.2-29"), says="acknowledgements have reasons that nobody wants")
class ReasonsForEverybody(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Publish | Connack | Disconnect | Auth) or not hasattr(packet, "properties"):
            return None
        return [replace(packet, properties=(*packet.properties, ("user_property", ("why", "because"))))]


broker(
    "response-information-unasked", "5:3.1.2-28", "CONNACK has Response Information although nobody asked",
    Connack, lambda packet, conn: [replace(packet, properties=(*packet.properties, ("response_information", "here")))],
)  # fmt: skip
client(
    "will-at-qos-2-refused", "5:3.2.2-12", "a will at QoS 2 is refused although nothing said so",
    Connect, lambda packet, conn: refuse(conn) if packet.will and packet.will.qos == 2 else None,
)  # fmt: skip
client(
    "will-with-retain-refused", "5:3.2.2-13", "a will with RETAIN is refused although nothing said so",
    Connect, lambda packet, conn: refuse(conn) if packet.will and packet.will.retain else None,
)  # fmt: skip
client(
    "qos-2-unanswered", "5:3.2.2-9", "QoS 2 is not offered, and CONNACK does not say so",
    Publish, lambda packet, conn: drop(packet, conn) if packet.qos == 2 else None,
)  # fmt: skip
client(
    "sessions-never-created", "4:3.1.2-4 5:3.1.2-6", "sessions are clean whatever the client asks for",
    Connect,
    lambda packet, conn: [replace(without(packet, "session_expiry_interval"), clean_start=True)],
)  # fmt: skip

