"""Faults of MQTT brokers that a message or two do not show: full windows, long lists, many clients."""

from dataclasses import replace
from typing import Any

from mqproof.dissectors.mqtt.codec import (
    Connack,
    Puback,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Subscription,
    Unsubscribe,
)
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, fault
from mqproof.harness.saboteur.mqtt_making import answer, broker, client, count, ids, is_qos

FEW = 16  # messages in flight that these brokers cope with
MOST_IDS = 65_535
STORED = "4:4.5.0-1 5:4.5.0-1"


@fault(
    "full-window-loses-qos-2", *ids(f"4:4.3.3-2 5:4.3.3-8 {STORED}"),
    says="a QoS 2 message is answered and lost while 16 others of its publisher are incomplete",
)  # fmt: skip
class FullWindowLosesQos2(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        incomplete = conn.memory.setdefault("incomplete", set())
        if is_qos(packet, 2) and packet.packet_id not in incomplete:
            if len(incomplete) >= FEW:
                return answer(conn, Pubrec(packet.packet_id))
            incomplete.add(packet.packet_id)
        elif isinstance(packet, Pubrel):
            incomplete.discard(packet.packet_id)
        return None


@fault(
    "full-window-loses-qos-1", *ids(f"4:4.3.2-2 5:4.3.2-4 {STORED}"),
    says="a QoS 1 message is acknowledged and lost while 16 others of its publisher wait for PUBACK",
)  # fmt: skip
class FullWindowLosesQos1(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        waiting = conn.memory.setdefault("waiting", set())
        if not is_qos(packet, 1):
            return None
        if len(waiting) >= FEW:
            return answer(conn, Puback(packet.packet_id))
        waiting.add(packet.packet_id)
        return None

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Puback):
            conn.memory.setdefault("waiting", set()).discard(packet.packet_id)
        return None


@fault(
    "release-out-of-turn", *ids("4:4.6.0-6 5:4.6.0-5"),
    says="the tenth QoS 2 message in flight is passed on after the others",
)  # fmt: skip
class ReleaseOutOfTurn(MqttFault):
    """It waits for the next message that begins when all others are complete."""

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        incomplete = conn.memory.setdefault("incomplete", set())
        if isinstance(packet, Pubrel):
            incomplete.discard(packet.packet_id)
        if not is_qos(packet, 2):
            return None
        incomplete.add(packet.packet_id)
        if len(incomplete) == 10 and "held" not in conn.memory:
            conn.memory["held"] = packet
            return answer(conn, Pubrec(packet.packet_id))
        if len(incomplete) == 1 and "held" in conn.memory:
            return [packet, replace(conn.memory.pop("held"), qos=0, packet_id=None)]
        return None


@fault("withheld-window-loses", *ids(STORED), says="what exceeds 16 messages that a 3.1.1 client holds is lost")
class WithheldWindowLoses(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        held = conn.memory.setdefault("held", set())
        if not is_qos(packet, 1, 2) or packet.dup:
            return None
        if len(held) >= FEW:
            return []
        held.add(packet.packet_id)
        return None

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Puback | Pubrec):
            conn.memory.setdefault("held", set()).discard(packet.packet_id)
        return None


@fault("window-leaks", *ids("5:4.5.0-1"), says="every third acknowledgement does not open the send window again")
class WindowLeaks(MqttFault):
    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        return [] if isinstance(packet, Puback | Pubrec) and count(conn) > 4 and count(conn, "late") % 3 == 0 else None


@fault(
    "acknowledgement-opens-two", *ids("5:3.3.4-9 5:4.9.0-2"),
    says="each PUBACK counts for the next message, too, so that more go out than the client wants",
)  # fmt: skip
class AcknowledgementOpensTwo(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if is_qos(packet, 1):
            conn.memory.setdefault("sent", []).append(packet.packet_id)
        return None

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        sent = conn.memory.setdefault("sent", [])
        if not isinstance(packet, Puback):
            return None
        if packet.packet_id not in sent:
            return []
        sent.remove(packet.packet_id)
        return [packet, Puback(sent.pop(0))] if sent else None


broker(
    "resent-16-at-most", "4:4.4.0-1 5:4.4.0-1", "a session's return brings 16 unacknowledged messages at most",
    Publish, lambda packet, conn: [] if packet.dup and count(conn) > FEW else None,
)  # fmt: skip


@fault("waiting-30-at-most", *ids(STORED), says="of the messages for an absent client the first 30 are kept")
class Waiting30AtMost(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Connack):
            conn.memory["returned"] = packet.session_present
        if isinstance(packet, Publish) and conn.memory.get("returned") and not packet.dup and count(conn) > 30:
            return []
        return None


def forget(filters: tuple[str, ...]) -> list[str]:
    """Return the filters, of which those after the 64th have become others."""
    return [each if number < 64 else f"{each}/forgotten" for number, each in enumerate(filters)]


client(
    "long-subscribe-cut", "4:3.8.4-4 5:3.8.4-5", "of the filters of a SUBSCRIBE the first 64 count",
    Subscribe,
    lambda packet, conn: [replace(packet, subscriptions=tuple(
        replace(entry, filter=each)
        for entry, each in zip(packet.subscriptions, forget(filters_of(packet.subscriptions)), strict=True)
    ))],
)  # fmt: skip
client(
    "long-unsubscribe-cut", "4:3.10.4-6 5:3.10.4-6", "of the filters of an UNSUBSCRIBE the first 64 count",
    Unsubscribe, lambda packet, conn: [replace(packet, filters=tuple(forget(packet.filters)))],
)  # fmt: skip
client(
    "deep-topics-lost", STORED, "messages on topics of more than 40 levels are acknowledged and lost",
    Publish,
    lambda packet, conn: answer(conn, Puback(packet.packet_id)) if is_qos(packet, 1) and packet.topic.count("/") > 39
    else None,
)  # fmt: skip
client(
    "large-messages-lost", STORED, "messages above 1 MiB are acknowledged and lost",
    Publish,
    lambda packet, conn: answer(conn, Puback(packet.packet_id)) if is_qos(packet, 1) and len(packet.payload) > 1 << 20
    else None,
)  # fmt: skip
broker(
    "retained-32-at-most", "4:3.3.1-6 5:3.3.1-9", "a connection is sent 32 retained messages at most",
    Publish, lambda packet, conn: [] if packet.retain and count(conn) > 32 else None,
)  # fmt: skip


@fault("ten-subscribers-at-most", *ids(STORED), says="a message reaches ten subscribers at most")
class TenSubscribersAtMost(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if not isinstance(packet, Publish) or packet.payload != b"to many":
            return None
        self.memory[packet.topic] = self.memory.get(packet.topic, 0) + 1
        return [] if self.memory[packet.topic] > 10 else None


def filters_of(subscriptions: tuple[Subscription, ...]) -> tuple[str, ...]:
    """Return the filters of a SUBSCRIBE."""
    return tuple(entry.filter for entry in subscriptions)


@fault(
    "packet-id-wraps-to-0", *ids("4:2.3.1-4 5:2.2.1-4"),
    says="the packet identifier after 65,534 is 0",
)  # fmt: skip
class PacketIdWrapsTo0(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        return [replace(packet, packet_id=0)] if is_qos(packet, 1) and packet.packet_id == MOST_IDS else None


@fault(
    "packet-id-wraps-into-use", *ids("4:2.3.1-4 5:2.2.1-4"),
    says="the packet identifier after 65,534 is one that waits for its acknowledgement",
)  # fmt: skip
class PacketIdWrapsIntoUse(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if not is_qos(packet, 1):
            return None
        if packet.packet_id == MOST_IDS:
            return [replace(packet, packet_id=min(conn.memory["unanswered"]))]
        conn.memory.setdefault("unanswered", set()).add(packet.packet_id)
        return None

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Puback):
            conn.memory.setdefault("unanswered", set()).discard(packet.packet_id)
        return None
