"""Faults of MQTT brokers, first part: topics, quality of service, what is sent again.

Each is as small as a bug in a broker could be. Those that no rewriting of packets can express are defects of the
embedded broker.
"""

from dataclasses import replace
from typing import Any

from mqproof.dissectors.mqtt.codec import (
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
)
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, fault
from mqproof.harness.saboteur.mqtt_making import answer, broker, client, count, defects, drop, ids, is_qos

# -- topics and filters (section 4.7) ------------------------------------------------------------------------------

defects(
    ("dollar-matched-by-wildcard", "4:4.7.2-1 5:4.7.2-1"),
    ("hash-without-parent", "4:4.5.0-1 4:3.3.2-3 5:4.5.0-1 5:3.3.2-3"),
    ("plus-needs-text", "4:4.5.0-1 4:3.3.2-3 5:4.5.0-1 5:3.3.2-3"),
    ("topics-case-insensitive", "4:4.7.3-4 5:4.7.3-4"),
)


def widened(packet: Subscribe, conn: MqttConn) -> MqttResult:
    """A filter's last level becomes a wildcard."""
    wider = [
        replace(entry, filter=entry.filter.rpartition("/")[0] + "/+") if entry.filter.count("/") > 1 else entry
        for entry in packet.subscriptions
    ]
    return [replace(packet, subscriptions=tuple(wider))]


def spanning(packet: Subscribe, conn: MqttConn) -> MqttResult:
    """A filter that ends in + selects deeper topics, too, as if it ended in #."""
    entries = [
        replace(entry, filter=entry.filter[:-1] + "#") if entry.filter.endswith("/+") else entry
        for entry in packet.subscriptions
    ]
    return [replace(packet, subscriptions=tuple(entries))]


client("plus-spans-levels", "4:4.5.0-1 4:3.3.2-3 5:4.5.0-1 5:3.3.2-3", "+ selects several levels", Subscribe, spanning)
client(
    "filter-widened", "4:3.3.2-3 5:3.3.2-3 4:4.5.0-1 5:4.5.0-1", "a filter's last level is not compared",
    Subscribe, widened,
)  # fmt: skip
broker(
    "second-message-lost", "4:4.5.0-1 5:4.5.0-1 4:4.6.0-5 5:4.6.0-6", "the second message for a client is lost",
    Publish, lambda packet, conn: [] if count(conn) == 2 else None,
)  # fmt: skip
broker(
    "short-payload-emptied", "4:4.5.0-1 5:4.5.0-1 4:3.3.2-3 5:3.3.2-3", "payloads of one or two octets are emptied",
    Publish, lambda packet, conn: [replace(packet, payload=b"")] if 0 < len(packet.payload) < 3 else None,
)  # fmt: skip
client(
    "wildcards-in-names-allowed", "4:3.3.2-2 4:4.7.1-1 5:3.3.2-2 5:4.7.0-1", "a topic name may hold wildcards",
    Publish,
    lambda packet, conn: (
        [replace(packet, topic=packet.topic.replace("#", "x").replace("+", "x"))]
        if "#" in packet.topic or "+" in packet.topic else None
    ),
)  # fmt: skip
client(
    "empty-topic-allowed", "4:4.7.3-1 5:4.7.3-1 4:4.8.0-1 5:4.13.1-1", "a topic name may be empty",
    Publish, lambda packet, conn: [] if not packet.topic and not packet.properties else None,
)  # fmt: skip
client(
    "empty-filter-granted", "4:4.7.3-1 5:4.7.3-1", "a topic filter may be empty",
    Subscribe,
    lambda packet, conn: [
        replace(packet, subscriptions=tuple(replace(e, filter=e.filter or "mqproof") for e in packet.subscriptions))
    ],
)  # fmt: skip


@fault(
    "messages-reversed", *ids("4:4.6.0-5 4:4.6.0-6 5:4.6.0-5 5:4.6.0-6"), says="two waiting messages change places"
)
class MessagesReversed(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if not isinstance(packet, Publish) or packet.retain:
            return None
        number = count(conn)
        if number == 3:
            conn.memory["held"] = packet
            return []
        return [packet, conn.memory.pop("held")] if "held" in conn.memory else None


# -- quality of service (section 4.3) ------------------------------------------------------------------------------

broker(
    "dup-at-qos-0", "4:4.3.1-1 4:3.3.1-2 5:4.3.1-1 5:3.3.1-2", "messages at QoS 0 carry DUP",
    Publish,
    lambda packet, conn: [replace(packet, dup=True)] if packet.qos == 0 and packet.payload[:2] == b"at" else None,
)  # fmt: skip
broker(
    "qos-0-twice", "4:4.3.1-1 5:4.3.1-1", "messages at QoS 0 come twice",
    Publish, lambda packet, conn: [packet, packet] if packet.qos == 0 and packet.payload == b"once" else None,
)  # fmt: skip
client(
    "qos-0-acknowledged", "4:3.3.4-1 5:3.3.4-1", "messages at QoS 0 are acknowledged",
    Publish, lambda packet, conn: conn.to_client(Puback(1)) if packet.qos == 0 else None,
)  # fmt: skip
broker(
    "puback-for-large-ids-lost", "4:4.3.2-2 4:2.3.1-6 4:3.3.4-1 5:4.3.2-4 5:2.2.1-5 5:3.3.4-1",
    "PUBACK forgets the higher octet of the packet identifier",
    Puback, lambda packet, conn: [Puback(packet.packet_id % 256 or 1)],
)  # fmt: skip
broker("puback-twice", "4:4.3.2-2 5:4.3.2-4", "PUBACK comes twice", Puback, lambda packet, conn: [packet, packet])
client(
    "puback-and-dropped", "4:4.5.0-1 5:4.5.0-1", "a third message at QoS 1 is acknowledged and reaches nobody",
    Publish,
    lambda packet, conn: answer(conn, Puback(packet.packet_id)) if is_qos(packet, 1) and count(conn) == 3 else None,
)  # fmt: skip
broker(
    "pubrec-with-wrong-id", "4:4.3.3-2 4:2.3.1-6 4:3.3.4-1 5:4.3.3-8 5:2.2.1-5 5:3.3.4-1",
    "PUBREC forgets the higher octet of the packet identifier",
    Pubrec, lambda packet, conn: [Pubrec(packet.packet_id % 256 or 1)],
)  # fmt: skip
broker(
    "packet-id-0", "4:2.3.1-1 4:2.3.1-4 4:4.3.2-1 5:2.2.1-4 5:4.3.2-1", "a second QoS 1 message has identifier 0",
    Publish, lambda packet, conn: [replace(packet, packet_id=0)] if is_qos(packet, 1) and count(conn) == 2 else None,
)  # fmt: skip
broker(
    "pubcomp-lost", "4:4.3.3-2 5:4.3.3-11", "PUBREL is not answered",
    Pubcomp, drop,
)  # fmt: skip
broker(
    "pubrel-lost", "4:4.3.3-1 5:4.3.3-4 4:4.4.0-1 5:4.4.0-1 5:4.3.3-5", "PUBREC is not answered",
    Pubrel, drop,
)  # fmt: skip
broker(
    "pubrel-with-wrong-id", "4:4.3.3-1 4:2.3.1-6 5:4.3.3-4 5:2.2.1-5", "PUBREL has another packet identifier",
    Pubrel, lambda packet, conn: [Pubrel(packet.packet_id ^ 0x100)],
)  # fmt: skip
broker(
    "first-sending-with-dup",
    "4:4.3.2-1 4:3.3.1-3 5:4.3.2-2 4:4.3.3-1 5:4.3.3-2 5:3.3.1-3", "messages carry DUP when they are sent first",
    Publish, lambda packet, conn: [replace(packet, dup=True)] if packet.qos else None,
)  # fmt: skip
client(
    "pubrel-repeated-unanswered", "4:4.3.3-2 5:4.3.3-11", "only the first PUBREL of a packet identifier is answered",
    Pubrel, lambda packet, conn: [] if count(conn, f"rel{packet.packet_id}") > 1 else None,
)  # fmt: skip
client(
    "qos-2-repeated-unanswered", "4:4.3.3-2 5:4.3.3-10", "a repeated QoS 2 PUBLISH is not answered",
    Publish, lambda packet, conn: [] if is_qos(packet, 2) and packet.dup else None,
)  # fmt: skip
defects(
    ("packet-id-constant", "4:2.3.1-4 4:4.3.2-1 4:4.3.3-1 5:2.2.1-4 5:4.3.2-1 5:4.3.3-1 5:4.3.3-5 5:4.3.2-3"),
    ("qos2-delivered-again", "4:4.3.3-2 5:4.3.3-10"),
    ("received-ids-lost", "4:4.3.3-2 5:4.3.3-10 4:4.1.0-1 5:4.1.0-1"),
    ("qos2-id-never-freed", "4:4.3.3-2 5:4.3.3-12"),
    ("qos1-id-remembered", "4:4.3.2-2 5:4.3.2-5"),
    ("dup-forwarded", "4:3.3.1-3 5:3.3.1-3"),
    ("granted-qos-ignored", "4:3.8.4-6 5:3.8.4-8"),
    ("always-granted-qos", "4:3.8.4-6 5:3.8.4-8 4:3.3.5-1 5:3.3.4-2"),
)

# -- what is sent again (section 4.4) ------------------------------------------------------------------------------

defects(
    ("qos1-not-resent", "4:4.4.0-1 5:4.4.0-1 5:4.3.2-3 4:4.6.0-6 5:4.6.0-5"),
    ("qos2-not-resent", "4:4.4.0-1 5:4.4.0-1 5:4.3.3-3 4:4.6.0-6 5:4.6.0-5"),
    ("pubrel-not-resent", "4:4.4.0-1 5:4.4.0-1 5:4.3.3-5"),
    ("publish-after-pubrel", "4:4.3.3-1 5:4.3.3-6 4:4.4.0-1 5:4.4.0-1"),
    ("resent-after-ack", "4:4.4.0-1 5:4.4.0-1 5:4.4.0-2"),
    ("resent-with-new-id", "4:4.4.0-1 5:4.4.0-1"),
    ("resent-in-reverse", "4:4.6.0-6 5:4.6.0-5"),
    ("resent-without-dup", "4:3.3.1-1 5:3.3.1-1"),
)


@fault("resent-at-leisure", *ids("5:4.4.0-1"), says="unacknowledged messages are sent again on the same connection")
class ResentAtLeisure(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if is_qos(packet, 1) and not packet.dup and packet.payload == b"held":
            conn.memory["held"] = packet
        elif isinstance(packet, Publish) and "held" in conn.memory:
            return [replace(conn.memory.pop("held"), dup=True), packet]
        return None


