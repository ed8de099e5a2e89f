"""What the server does with PUBLISH, its acknowledgements, SUBSCRIBE and UNSUBSCRIBE: sections 3.3 to 3.11 and 4.3.

Choices the text leaves open: a PUBLISH to a topic of the server's own is refused by PUBACK or PUBREC 0x87 in 5.0 and
acknowledged and dropped in 3.1.1 (MQTT-3.3.5-2); an identifier that a QoS 2 message still has is refused with 0x91
in 5.0; unknown identifiers get PUBREL or PUBCOMP with 0x92; an acknowledgement of the wrong kind for its QoS is a
protocol error, and so are wildcards in a topic name or misplaced in a filter: such a packet can be parsed, but has what
the protocol does not allow (definitions in section 1.2; 0x8F and 0x90 are for well-formed ones).
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from mqproof.dissectors.mqtt.codec import (
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    prop,
)
from mqproof.dissectors.mqtt.tables import REASON_CODES, PacketType, ReasonCode, Version
from mqproof.harness.reference.mqtt.delivery import Message
from mqproof.harness.reference.mqtt.handshake import check_response_topic, message_of
from mqproof.harness.reference.mqtt.refusal import Refusal
from mqproof.harness.reference.mqtt.session import Grant, Session
from mqproof.harness.reference.mqtt.topics import is_shared, matches, split_shared, valid_filter, valid_topic

if TYPE_CHECKING:
    from mqproof.harness.reference.mqtt.connection import Connection

Reason = tuple[tuple[str, str], ...]


def reason(text: str) -> Reason:
    """Return the Reason String property."""
    return (("reason_string", text),)


class Receiver:
    """Handles what an accepted client sends about messages and subscriptions."""

    def __init__(self, connection: "Connection", session: Session, version: Version) -> None:
        self._connection = connection
        self._broker = connection.broker
        self._session = session
        self._v5 = version is Version.V5_0
        self._limits = connection.broker.limits
        self._aliases: dict[int, str] = {}  # of this connection only (MQTT-3.3.2-7)
        if self._broker.defective("aliases-kept"):
            self._aliases = self._broker.aliases_kept.setdefault(session.client_id, {})
        self._open: set[int] = set()  # QoS 2 identifiers that count against our Receive Maximum
        self._seen: set[int] = set()  # for a defect only

    # -- PUBLISH

    def publish(self, packet: Publish) -> None:
        """Sections 3.3.4 and 4.3. Raises Refusal."""
        topic = self._topic(packet)
        self._check_publish(packet, topic)
        client_id, now = self._session.client_id, self._broker.now
        message = message_of(topic, packet.payload, packet.qos, packet.retain, packet.properties, client_id, now)
        if packet.dup:
            message = replace(message, dup=True)
        if packet.qos == 0:
            if not self._denied(message):
                self._broker.publish(message)
        elif packet.qos == 1:
            self._at_least_once(packet.packet_id or 0, message)
        else:
            self._exactly_once(packet.packet_id or 0, message)

    def _topic(self, packet: Publish) -> str:
        """The topic name, alias resolved: section 3.3.2.3.4."""
        alias = prop(packet.properties, "topic_alias") if packet.properties else None
        if alias is None:
            return packet.topic
        if not 0 < alias <= self._limits.topic_alias_maximum:
            raise Refusal(ReasonCode.TOPIC_ALIAS_INVALID, f"topic alias {alias} is out of range")  # MQTT-3.3.2-9
        if packet.topic:
            self._aliases[alias] = packet.topic
        elif alias not in self._aliases:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, f"topic alias {alias} stands for no topic")
        return self._aliases[alias]

    def _check_publish(self, packet: Publish, topic: str) -> None:
        if not topic and self._v5:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, "neither topic name nor topic alias")
        if not valid_topic(topic):
            raise Refusal(ReasonCode.PROTOCOL_ERROR, "wildcards in a topic name")  # MQTT-3.3.2-2
        if packet.qos > self._limits.maximum_qos:
            raise Refusal(ReasonCode.QOS_NOT_SUPPORTED, "QoS above Maximum QoS")
        if packet.retain and not self._limits.retain_available:
            raise Refusal(ReasonCode.RETAIN_NOT_SUPPORTED, "RETAIN without Retain Available")
        if packet.properties:
            if prop(packet.properties, "subscription_identifier") is not None:  # MQTT-3.3.4-6
                raise Refusal(ReasonCode.PROTOCOL_ERROR, "Subscription Identifier from a client")
            check_response_topic(packet.properties)

    def _denied(self, message: Message) -> int:
        """The reason code that refuses the message, 0 for none. Raises Refusal where 3.1.1 has no code for it."""
        if message.topic.startswith("$SYS/"):
            return ReasonCode.NOT_AUTHORIZED
        if message.retain and self._broker.retained.octets + message.size > self._limits.retained_octets:
            if not self._v5:
                raise Refusal(ReasonCode.QUOTA_EXCEEDED, "too much is retained")
            return ReasonCode.QUOTA_EXCEEDED
        return 0

    def _accept(self, message: Message) -> int:
        """Pass the message on and return the reason code for PUBACK or PUBREC (sections 3.4.2.1, 3.5.2.1)."""
        reached = self._broker.publish(message)
        return ReasonCode.SUCCESS if reached or not self._v5 else ReasonCode.NO_MATCHING_SUBSCRIBERS

    def _at_least_once(self, packet_id: int, message: Message) -> None:
        """MQTT-4.3.2-4, -5; 3.1.1: MQTT-4.3.2-2."""
        if self._v5 and packet_id in self._session.inbox:
            self._answer(Puback(packet_id, ReasonCode.PACKET_IDENTIFIER_IN_USE, reason("a QoS 2 message has it")))
            return
        denied = self._denied(message)
        repeated = packet_id in self._seen and self._broker.defective("qos1-id-remembered")
        self._seen.add(packet_id) if self._broker.defective("qos1-id-remembered") else None
        code = denied or (0 if repeated else self._accept(message))
        self._answer(Puback(packet_id, code, reason("not accepted") if denied else ()))

    def _exactly_once(self, packet_id: int, message: Message) -> None:
        """MQTT-4.3.3-8 to -12; 3.1.1: MQTT-4.3.3-2."""
        inbox = self._session.inbox
        if self._v5 and packet_id not in self._open:
            if len(self._open) >= self._limits.receive_maximum:
                raise Refusal(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED, "more QoS 2 messages than Receive Maximum")
            self._open.add(packet_id)
        denied = 0 if packet_id in inbox else self._denied(message)
        if denied and self._v5:
            self._open.discard(packet_id)
            self._answer(Pubrec(packet_id, denied, reason("not accepted")))  # the exchange ends, MQTT-4.3.3-9
            return
        new = inbox.accept(packet_id)
        self._answer(Pubrec(packet_id, self._accept(message) if new and not denied else ReasonCode.SUCCESS))

    def _answer(self, packet: Puback | Pubrec | Pubrel | Pubcomp) -> None:
        self._connection.send(packet if self._v5 else type(packet)(packet.packet_id))

    def pubrel(self, packet: Pubrel) -> None:
        """MQTT-4.3.3-11, -12: the message is complete whatever the reason code says."""
        self._check_code(packet, PacketType.PUBREL)
        self._open.discard(packet.packet_id)
        known = self._session.inbox.release(packet.packet_id)
        self._answer(Pubcomp(packet.packet_id, 0 if known or not self._v5 else ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))

    # -- acknowledgements of what we sent

    def puback(self, packet: Puback) -> None:
        """MQTT-4.3.2-3, MQTT-4.4.0-2. An unknown identifier is ignored."""
        self._check_code(packet, PacketType.PUBACK)
        qos = self._session.outbox.qos_of(packet.packet_id)
        if qos == 2 or self._session.outbox.is_released(packet.packet_id):
            raise Refusal(ReasonCode.PROTOCOL_ERROR, "PUBACK for a QoS 2 message")
        if qos == 1:
            self._finish(packet)

    def pubrec(self, packet: Pubrec) -> None:
        """MQTT-4.3.3-4 to -6; a code of 0x80 or above ends the exchange (MQTT-4.4.0-2)."""
        self._check_code(packet, PacketType.PUBREC)
        outbox = self._session.outbox
        qos = outbox.qos_of(packet.packet_id)
        if qos == 1:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, "PUBREC for a QoS 1 message")
        if packet.reason_code >= 0x80:
            if qos == 2:
                self._finish(packet)
            return
        if qos == 2:
            outbox.release(packet.packet_id)
        known = outbox.is_released(packet.packet_id)
        self._answer(Pubrel(packet.packet_id, 0 if known or not self._v5 else ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))

    def pubcomp(self, packet: Pubcomp) -> None:
        """The identifier may be used again. An unknown one is ignored."""
        self._check_code(packet, PacketType.PUBCOMP)
        if self._session.outbox.is_released(packet.packet_id):
            self._finish(packet)
        elif self._session.outbox.qos_of(packet.packet_id) is not None:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, "PUBCOMP before PUBREL")

    def _finish(self, packet: Puback | Pubrec | Pubcomp) -> None:
        delivery = self._session.outbox.finish(packet.packet_id)
        if delivery and delivery.group and packet.reason_code >= 0x80 and self._broker.defective("shared-redirected"):
            self._broker.redirect(delivery)  # against MQTT-4.8.2-6
        self._broker.resume(self._session)

    def _check_code(self, packet: Puback | Pubrec | Pubrel | Pubcomp, kind: PacketType) -> None:
        """MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1."""
        if packet.reason_code not in REASON_CODES[kind]:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, f"{kind.name} with reason code 0x{packet.reason_code:02X}")

    # -- subscriptions

    def subscribe(self, packet: Subscribe) -> None:
        """Section 3.8.4. SUBACK goes first, one code per filter, in order (MQTT-3.8.4-1, -2, -5, -6, MQTT-3.9.3-1).

        Raises Refusal.
        """
        identifier = prop(packet.properties, "subscription_identifier")
        if identifier is not None and not self._limits.identifiers_available:
            raise Refusal(ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "no subscription identifiers")
        grants = [self._grant(entry, identifier) for entry in packet.subscriptions]
        if self._v5 and packet.packet_id in self._session.inbox:
            codes = [int(ReasonCode.PACKET_IDENTIFIER_IN_USE)] * len(grants)
        else:
            codes = [self._add(*pair) for pair in zip(packet.subscriptions, grants, strict=True)]
        failed = any(code >= 0x80 for code in codes)
        self._connection.send(Suback(packet.packet_id, tuple(codes), reason("not granted") if failed else ()))

    def _grant(self, entry: Subscription, identifier: int | None) -> Grant:
        text, share = entry.filter, None
        if self._v5 and is_shared(text):
            parts = split_shared(text)
            if parts is None:  # MQTT-4.8.2-1, -2
                raise Refusal(ReasonCode.PROTOCOL_ERROR, "a shared subscription without ShareName or filter")
            if entry.no_local:  # MQTT-3.8.3-4
                raise Refusal(ReasonCode.PROTOCOL_ERROR, "No Local on a shared subscription")
            if not self._limits.shared_available:
                raise Refusal(ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, "no shared subscriptions")
            share, text = parts
        elif not valid_filter(text):
            raise Refusal(ReasonCode.PROTOCOL_ERROR, "the topic filter is not valid")  # MQTT-4.7.1-1, -2
        if self._v5 and not self._limits.wildcards_available and ("+" in text or "#" in text):
            raise Refusal(ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED, "no wildcards")
        qos = min(entry.qos, self._limits.maximum_qos)
        return Grant(text, qos, entry.no_local, entry.retain_as_published, identifier, share)

    def _add(self, entry: Subscription, grant: Grant) -> int:
        """Return the granted QoS, or a failure (MQTT-3.8.4-7, MQTT-3.9.3-2)."""
        if not self._limits.wildcards_available and ("+" in grant.filter or "#" in grant.filter):
            return ReasonCode.UNSPECIFIED_ERROR  # 3.1.1: MQTT-3.8.3-2
        new = entry.filter not in self._session.grants
        if new and self._session.filter_octets + len(entry.filter) > self._limits.subscription_octets:
            return ReasonCode.QUOTA_EXCEEDED if self._v5 else ReasonCode.UNSPECIFIED_ERROR
        self._broker.subscribe(self._session, entry.filter, grant, entry.retain_handling)
        return grant.qos

    def unsubscribe(self, packet: Unsubscribe) -> None:
        """Section 3.10.4: UNSUBACK comes in any case, one code per filter (MQTT-3.10.4-4 to -6, MQTT-3.11.3-1).

        Raises Refusal.
        """
        for text in packet.filters:
            shared = self._v5 and is_shared(text)
            if (split_shared(text) is None) if shared else not valid_filter(text):
                raise Refusal(ReasonCode.PROTOCOL_ERROR, "the topic filter is not valid")
        if self._v5 and packet.packet_id in self._session.inbox:
            codes = [int(ReasonCode.PACKET_IDENTIFIER_IN_USE)] * len(packet.filters)
            self._connection.send(Unsuback(packet.packet_id, tuple(codes), reason("a QoS 2 message has it")))
            return
        codes = [self._remove(text) for text in packet.filters]
        self._connection.send(Unsuback(packet.packet_id, tuple(codes) if self._v5 else ()))

    def _remove(self, text: str) -> int:
        if self._broker.defective("unsubscribe-by-match"):
            for other in [other for other in self._session.grants if matches(text, other)]:
                self._broker.unsubscribe(self._session, other)
        if self._broker.defective("unsubscribe-drops-in-flight"):
            self._session.outbox.drop_started(lambda topic: matches(text, topic))
        found = self._broker.unsubscribe(self._session, text)
        return ReasonCode.SUCCESS if found else ReasonCode.NO_SUBSCRIPTION_EXISTED
