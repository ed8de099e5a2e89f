"""The message view: each application message followed across its packets, from publish to last acknowledgement."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from mqproof.dissectors.overhead.amqp_hops import AmqpHops, Content
from mqproof.dissectors.overhead.frames import Connection, Segment, Watcher
from mqproof.dissectors.overhead.hops import Group, Hop, Messages, Notice
from mqproof.dissectors.overhead.mqtt_hops import MqttHops
from mqproof.dissectors.overhead.streams import Seen
from mqproof.dissectors.packets.tcp import ACK

WAITING: Final = 4096  # frames of one direction that wait for a TCP acknowledgement
ACK_ONLY: Final = 0x17  # FIN, SYN, RST and ACK: of these, ACK alone
MATCHES: Final = ("matched_by_content", "matched_by_order", "copies_beyond_published", "retained", "unmatched")

Target = Hop | Content | None


def _ignore(connection: Connection, kind: str, packets: list[int], text: str) -> None:
    """Nobody collects findings."""


def _all(protocol: str, name: str) -> bool:
    return True


class MessageView(Watcher):
    """Follows messages. ``notice`` is told what is odd; ``wanted`` says by protocol and name which ones to show."""

    def __init__(self, notice: Notice = _ignore, wanted: Callable[[str, str], bool] = _all) -> None:
        self.messages = Messages(wanted)
        self._mqtt = MqttHops(self.messages, notice)
        self._amqp = AmqpHops(self.messages, notice)
        self._waiting: dict[Connection, tuple[dict[Target, int], dict[Target, int]]] = {}

    def frame(self, connection: Connection, side: int, seen: Seen) -> None:
        """Follow a frame to its message."""
        tracker = self._mqtt.packet if connection.protocol == "mqtt" else self._amqp.frame
        target: Target = tracker(connection, side, seen)
        waiting = self._waiting.setdefault(connection, ({}, {}))[side]
        waiting[target] = waiting.get(target, 0) + seen.size
        if len(waiting) > WAITING:
            waiting.clear()

    def segment(self, connection: Connection, seen: Segment) -> None:
        """Divide a packet that only acknowledges among what it acknowledges, by octets."""
        waiting = self._waiting.get(connection)
        if waiting is None or not seen.flags & ACK:
            return
        acknowledged = waiting[1 - seen.side]
        total = sum(acknowledged.values())
        if total and seen.length == 0 and seen.flags & ACK_ONLY == ACK:
            for target, octets in acknowledged.items():
                if target is not None:
                    target.bare_ack(seen.captured * octets / total, octets / total)
        acknowledged.clear()

    def ended(self, connection: Connection, time: int) -> None:
        """Settle what stays open on a connection."""
        self._waiting.pop(connection, None)
        self._mqtt.ended(connection)
        self._amqp.ended(connection)

    def finish(self) -> None:
        """All files are read."""
        self._mqtt.unfinished()

    def as_json(self) -> dict[str, Any]:
        """Return figures by protocol and QoS, and the costliest messages."""
        groups = dict(sorted(self.messages.groups.items()))
        costliest = [message.as_json() for message in self.messages.costliest()]
        sizes = sorted(self.messages.sizes.items())
        return {
            "groups": {name: _figures(group) for name, group in groups.items()},
            "costliest": costliest,
            "by_size": [{"group": group, "size": size, **row.as_json()} for (group, size), row in sizes],
            "not_followed_to_the_end": self.messages.forgotten,
        }


def _figures(group: Group) -> dict[str, Any]:
    counts: Counter[str] = group.counts
    hops = group.published + group.delivered
    publishes = {
        "acknowledged": counts["acknowledged_publishes"],
        "refused": counts["refused_publishes"],
        "returned": counts["returned"],
        "no_acknowledgement_wanted": counts["no_confirm_wanted"],
        "not_known": counts["confirm_unknown"],
        "broken_off": counts["broken_off_publishes"],
        "open_at_the_end": counts["open_at_the_end_publishes"],
    }
    deliveries = {
        "acknowledged": counts["acknowledged_deliveries"],
        "refused": counts["refused_deliveries"],
        "requeued": counts["requeued"],
        "no_acknowledgement_wanted": counts["no_acknowledgement_wanted"],
        "broken_off": counts["broken_off_deliveries"],
        "open_at_the_end": counts["open_at_the_end_deliveries"],
    }
    handshakes = {name: counts[name] for name in ("completed", "repeated", "broken_off", "resumed", "open_at_the_end")}
    return {
        "published": group.published,
        "delivered": group.delivered,
        "direction_unknown": counts["direction_unknown"] + counts["topic_unknown"],
        "payload": group.payload,
        "bytes": round(group.octets),
        "bytes_per_hop": round(group.octets / hops, 1) if hops else None,
        "packets_per_hop": round(group.packets / hops, 2) if hops else None,
        "publishes": publishes,
        "deliveries": deliveries | {"redelivered": counts["redelivered"]},
        "handshakes": handshakes,
        "matching": {name: counts[name] for name in MATCHES},
        "latency": {
            "publish_to_acknowledgement": group.publish_to_ack.as_json(),
            "publish_to_delivery": group.publish_to_delivery.as_json(),
            "publish_to_delivery_by_order": group.publish_to_delivery_by_order.as_json(),
            "delivery_to_acknowledgement": group.delivery_to_ack.as_json(),
        },
    }
