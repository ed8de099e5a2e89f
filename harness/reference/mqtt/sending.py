"""What the server writes to one client: sizes, reason strings and topic aliases.

Choices the text leaves open: a packet that exceeds the client's Maximum Packet Size loses its Reason String and User
Properties first; a PUBLISH that is still too large is dropped and counts as delivered (MQTT-3.1.2-25); any other packet
that is still too large ends the connection. Topic aliases go to the first topics that are sent, until the client's
maximum is reached, and stay with them.
"""

from dataclasses import replace
from typing import Any, Protocol

from mqproof.dissectors.mqtt.codec import Connack, Disconnect, Packet, Properties, Publish, encode
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.reference.mqtt.delivery import Delivery
from mqproof.harness.reference.mqtt.handshake import Peer
from mqproof.harness.reference.mqtt.topics import Defective

OPTIONAL = ("reason_string", "user_property")


class Transport(Protocol):
    """Where a connection's octets go."""

    def write(self, data: bytes) -> None:
        """Send, in order, without blocking."""

    def close(self) -> None:
        """Send what is still to be sent, then close."""


class TooLarge(Exception):
    """A packet that the client's Maximum Packet Size forbids."""


class Sender:
    """Encodes packets for one client and hands them to its transport."""

    def __init__(self, transport: Transport, defective: Defective) -> None:
        self._transport = transport
        self._defective = defective
        self._version = Version.V3_1_1
        self._limit: int | None = None
        self._problem_information = True
        self._alias_maximum = 0
        self._aliases: dict[str, int] = {}

    def know(self, peer: Peer) -> None:
        """Go by what the client said in CONNECT."""
        self._version = peer.version
        self._limit = None if self._defective("too-large-sent") else peer.maximum_packet_size
        self._problem_information = peer.problem_information
        self._alias_maximum = peer.topic_alias_maximum
        if self._alias_maximum and self._defective("alias-maximum-ignored"):
            self._alias_maximum += 5

    def send(self, packet: Packet) -> None:
        """Send a packet that is not a PUBLISH. Raises TooLarge when nothing can be left out of it any more."""
        properties = getattr(packet, "properties", ())
        if properties and not self._problem_information and not isinstance(packet, Connack | Disconnect):
            packet = _without(packet, properties)  # MQTT-3.1.2-29
        data = encode(packet, self._version)
        if self._limit is not None and len(data) > self._limit:
            if properties:
                data = encode(_without(packet, properties), self._version)  # MQTT-3.4.2-2 and its like
            if len(data) > self._limit:
                raise TooLarge  # MQTT-3.1.2-24
        self._transport.write(data)

    def publish(self, delivery: Delivery, now: float) -> None:
        """Send an application message. Raises TooLarge when it exceeds the client's Maximum Packet Size."""
        message = delivery.message
        dup = delivery.dup and not self._defective("resent-without-dup")
        if self._defective("dup-forwarded") and delivery.qos:
            dup = dup or message.dup
        packet_id = delivery.packet_id
        if self._version is not Version.V5_0:
            packet = Publish(message.topic, message.payload, delivery.qos, delivery.retain, dup, packet_id)
            self._transport.write(encode(packet, self._version))
            return
        topic, alias = self._alias(message.topic)
        properties = self._properties(delivery, now) + alias
        packet = Publish(topic, message.payload, delivery.qos, delivery.retain, dup, packet_id, properties)
        data = encode(packet, self._version)
        if self._limit is not None and len(data) > self._limit:
            raise TooLarge
        if topic and alias:
            self._aliases[topic] = alias[0][1]
        self._transport.write(data)

    def _properties(self, delivery: Delivery, now: float) -> Properties:
        """Unchanged and in order (MQTT-3.3.2-4, -15 to -18, -20), but for the time that passed (MQTT-3.3.2-6)."""
        message = delivery.message
        if self._defective("properties-dropped"):
            return ()
        entries: list[tuple[str, Any]] = list(message.properties)
        if self._defective("properties-reversed"):
            entries.reverse()
        if message.expiry is not None:
            left = message.expiry if self._defective("expiry-not-reduced") else message.remaining(now)
            entries.append(("message_expiry_interval", left))
        entries.extend(("subscription_identifier", identifier) for identifier in delivery.identifiers)
        return tuple(entries)

    def _alias(self, topic: str) -> tuple[str, Properties]:
        """Section 3.3.2.3.4: MQTT-3.1.2-26, MQTT-3.1.2-27, MQTT-3.3.2-8, MQTT-3.3.2-11."""
        known = self._aliases.get(topic)
        if known is not None:
            return "", (("topic_alias", known),)
        if len(self._aliases) >= self._alias_maximum:
            return topic, ()
        return topic, (("topic_alias", len(self._aliases) + 1),)


def _without(packet: Packet, properties: Properties) -> Packet:
    kept = tuple(entry for entry in properties if entry[0] not in OPTIONAL)
    whatever: Any = packet
    changed: Packet = replace(whatever, properties=kept)
    return changed
