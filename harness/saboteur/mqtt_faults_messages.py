"""Faults of MQTT brokers, third part: retained messages, properties, aliases, who gets what."""

from dataclasses import replace
from typing import Any

from mqproof.dissectors.mqtt.codec import Connack, Puback, Publish, Pubrec, Subscribe, prop
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, fault
from mqproof.harness.saboteur.mqtt_making import (
    answer,
    broker,
    client,
    count,
    defects,
    ids,
    is_qos,
    with_property,
    without,
)

# -- retained messages (section 3.3.1.3) ---------------------------------------------------------------------------

defects(
    ("retained-not-stored", "4:3.3.1-5 4:3.3.1-6 5:3.3.1-5 5:3.3.1-9 4:3.1.2-7"),
    ("retained-not-replaced", "4:3.3.1-5 5:3.3.1-5 4:3.3.1-7"),
    ("retained-not-cleared", "4:3.3.1-10 5:3.3.1-6"),
    ("retained-empty-stored", "4:3.3.1-11 5:3.3.1-7"),
    ("retained-by-plain-publish", "4:3.3.1-12 5:3.3.1-8"),
    ("retained-cleared-by-plain-publish", "4:3.3.1-12 5:3.3.1-8"),
    ("retained-with-session", "4:3.1.2-7"),
    ("retained-only-exact", "4:3.3.1-6 5:3.3.1-9"),
    ("retained-on-new-only", "4:3.8.4-3 5:3.8.4-4 5:3.3.1-9"),
    ("retain-handling-ignored", "5:3.3.1-10 5:3.3.1-11"),
    ("retained-qos-zero", "4:3.8.4-6 5:3.8.4-8"),
    ("retain-as-published-ignored", "5:3.3.1-13"),
    ("retain-always-published", "4:3.3.1-9 5:3.3.1-12"),
)
broker(
    "retained-without-flag", "4:3.3.1-8 5:3.3.1-12", "retained messages come with RETAIN 0",
    Publish, lambda packet, conn: [replace(packet, retain=False)],
)  # fmt: skip
client(
    "only-qos-1-clears", "4:3.3.1-10 5:3.3.1-6", "an empty retained message clears only at QoS 1",
    Publish,
    lambda packet, conn: [replace(packet, retain=False)] if packet.retain and not packet.payload and packet.qos != 1
    else None,
)  # fmt: skip



@fault(
    "retained-for-strangers", *ids("4:3.3.2-3 5:3.3.2-3"), says="whoever connects gets the last retained message"
)
class RetainedForStrangers(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Publish) and packet.retain:
            self.memory["topic"] = packet.topic
        return None

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if not isinstance(packet, Connack) or "topic" not in self.memory:
            return None
        return [packet, Publish(self.memory["topic"], b"not asked for")]


# -- properties (section 3.3.2.3) ----------------------------------------------------------------------------------

defects(("properties-dropped", "5:3.3.2-4 5:3.3.2-15 5:3.3.2-16 5:3.3.2-17 5:3.3.2-18 5:3.3.2-20"))
defects(("properties-reversed", "5:3.3.2-18 5:3.3.2-17 5:3.1.3-10"))
broker(
    "payload-format-invented", "5:3.3.2-4", "every payload is called UTF-8",
    Publish,
    lambda packet, conn: [with_property(packet, "payload_format_indicator", lambda value: 1)]
    if conn.version == 5 else None,
)  # fmt: skip
broker(
    "expiry-doubled", "5:3.3.2-6", "Message Expiry Interval is forwarded twice as long",
    Publish,
    lambda packet, conn: [with_property(packet, "message_expiry_interval", lambda seconds: 2 * seconds)]
    if prop(packet.properties, "message_expiry_interval") else None,
)  # fmt: skip


@fault(
    "bad-properties-forwarded", *ids("5:3.3.2-13 5:3.3.2-14 5:3.3.2-19 5:1.5.4-1 5:1.5.7-1 5:3.3.4-6"),
    says="properties of messages are not checked at all",
)
class BadPropertiesForwarded(MqttFault):
    """Messages that no check lets pass go on with the properties that they came with."""

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Publish) and prop(packet.properties, "subscription_identifier"):
            self.memory["identifier"] = True
            return [without(packet, "subscription_identifier")]
        answers = prop(packet.properties, "response_topic") if isinstance(packet, Publish) else None
        if not set(answers or "") & set("+#"):
            return None
        self.memory["response_topic"] = answers
        return [without(packet, "response_topic")]

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Publish) and self.memory.pop("identifier", False):
            return [replace(packet, properties=(*packet.properties, ("subscription_identifier", 7)))]
        if isinstance(packet, Publish) and "response_topic" in self.memory:
            answers = self.memory.pop("response_topic")
            return [replace(packet, properties=(*packet.properties, ("response_topic", answers)))]
        if isinstance(packet, Publish) and packet.payload == b"body" and "octets" in self.memory:
            bad = self.memory.pop("octets")
            size = 4 + 2 + len(packet.topic.encode())  # the octets before the properties
            return [bytes([0x32, size + len(bad) + 3]) + conn.raw[2:size] + bytes([len(bad)]) + bad + b"body"]
        return None

    def malformed_from_client(self, error: Any, rest: bytes, conn: MqttConn) -> bytes:
        if not rest or rest[0] != 0x32:
            return rest
        size = 2 + int.from_bytes(rest[2:4])
        self.memory["octets"] = rest[size + 5 : size + 5 + rest[size + 4]]
        return bytes([0x32, size + 7]) + rest[2 : 2 + size] + b"\0\5\0body"


# -- topic aliases (section 3.3.2.3.4) -----------------------------------------------------------------------------

defects(
    ("aliases-kept", "5:3.3.2-7"),
    ("alias-maximum-ignored", "5:3.3.2-11 5:3.1.2-26 5:3.1.2-27"),
)


@fault("aliases-shared", *ids("5:3.3.2-7"), says="an alias of one client stands for its topic with all others")
class AliasesShared(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        alias = prop(packet.properties, "topic_alias") if isinstance(packet, Publish) else None
        if alias is not None and packet.topic:
            self.memory[alias] = packet.topic
        elif alias in self.memory:
            return [replace(packet, topic=self.memory[alias], properties=())]
        return None


@fault("aliases-never-changed", *ids("5:3.3.2-3 5:3.3.2-12 5:4.7.3-1"), says="an alias keeps its first topic")
class AliasesNeverChanged(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        alias = prop(packet.properties, "topic_alias") if isinstance(packet, Publish) else None
        if alias is None:
            return None
        first = conn.memory.setdefault(alias, packet.topic)
        return [replace(packet, topic=packet.topic or first, properties=())]


client(
    "only-alias-1", "5:3.3.2-12", "aliases other than 1 end the connection",
    Publish, lambda packet, conn: conn.close() if (prop(packet.properties, "topic_alias") or 1) > 1 else None,
)  # fmt: skip
broker(
    "alias-0-sent", "5:3.3.2-8 5:3.3.2-11 5:3.1.2-26 5:3.1.2-27 5:3.3.2-3",
    "messages carry an alias that stands for nothing",
    Publish, lambda packet, conn: (
        [replace(packet, topic="", properties=(*without(packet, "topic_alias").properties, ("topic_alias", 9)))]
        if conn.version == 5 and count(conn) > 1 else None
    ),
)  # fmt: skip

# -- who gets a message (sections 3.3.4, 3.8.4) --------------------------------------------------------------------

defects(
    ("overlap-lowest-qos", "4:3.3.5-1 5:3.3.4-2"),
    ("overlap-first-identifier", "5:3.3.4-3 5:3.3.4-4"),
    ("identifiers-forgotten", "5:3.3.4-3 5:3.3.4-4 5:3.3.4-5"),
    ("no-local-ignored", "5:3.8.3-3"),
    ("subscription-not-replaced", "4:3.8.4-3 5:3.8.4-3 5:3.3.4-3"),
    ("subscription-lost-on-replace", "4:3.8.4-3 5:3.8.4-4"),
)
broker(
    "five-copies", "4:3.3.5-1 4:3.3.2-3 5:3.3.4-2 5:3.3.2-3", "messages come five times",
    Publish, lambda packet, conn: [packet] * 5 if packet.topic.endswith("/a") else None,
)  # fmt: skip
broker(
    "identifier-invented", "5:3.3.4-5 5:3.3.4-4", "messages carry identifiers of other subscriptions",
    Publish,
    lambda packet, conn: [replace(packet, properties=(*packet.properties, ("subscription_identifier", 4)))]
    if conn.version == 5 else None,
)  # fmt: skip
broker(
    "large-identifiers-cut", "5:3.3.4-3 5:3.3.4-4", "subscription identifiers have two octets at most",
    Publish,
    lambda packet, conn: [
        replace(packet, properties=tuple(
            (name, value & 0x3FFF or 1) if name == "subscription_identifier" else (name, value)
            for name, value in packet.properties
        ))
    ] if prop(packet.properties, "subscription_identifier") else None,
)  # fmt: skip


@fault("two-subscribers-at-most", *ids("4:4.5.0-1 5:4.5.0-1"), says="a message reaches two subscribers at most")
class TwoSubscribersAtMost(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if not isinstance(packet, Publish) or packet.payload != b"to all":
            return None
        key = packet.topic
        self.memory[key] = self.memory.get(key, 0) + 1
        return [] if self.memory[key] > 2 else None


broker(
    "large-payloads-cut", "4:4.5.0-1 5:4.5.0-1", "payloads are cut after 16,383 octets",
    Publish,
    lambda packet, conn: [replace(packet, payload=packet.payload[:16383])] if len(packet.payload) > 16383 else None,
)  # fmt: skip


@fault("acknowledged-out-of-order", *ids("4:4.6.0-6 5:4.6.0-5 4:4.3.2-2 4:4.3.3-2"), says="PUBACKs change places")
class AcknowledgedOutOfOrder(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if not isinstance(packet, Puback | Pubrec) or packet.packet_id not in (3, 7):
            return None
        held = conn.memory.pop("held", None)
        if held is None:
            conn.memory["held"] = packet
            return []
        return [packet, held]


broker(
    "delivered-at-qos-0", "4:3.8.4-6 5:3.8.4-8 4:3.3.5-1 5:3.3.4-2 5:4.8.2-3", "everything is delivered at QoS 0",
    Publish, lambda packet, conn: [replace(packet, qos=0, packet_id=None, dup=False)] if packet.qos else None,
)  # fmt: skip
client(
    "window-of-publisher-20", "4:4.3.3-2 4:4.5.0-1", "of a publisher's QoS 2 messages at most 20 are taken",
    Publish,
    lambda packet, conn: answer(conn, Pubrec(packet.packet_id)) if is_qos(packet, 2) and count(conn) > 20 else None,
)  # fmt: skip


@fault(
    "message-lost-at-replacement", *ids("4:3.8.4-3 5:3.8.4-4"), says="subscribing again loses the message that follows"
)
class MessageLostAtReplacement(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Subscribe):
            filters = {entry.filter for entry in packet.subscriptions}
            known = conn.memory.setdefault("filters", set())
            conn.memory["loses"] = bool(filters & known) or conn.memory.get("resumed", False)
            known |= filters
        return None

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Connack):
            conn.memory["resumed"] = packet.session_present
        return [] if isinstance(packet, Publish) and conn.memory.pop("loses", False) else None
