"""Faults of MQTT brokers, on time: keep-alive, expiry of sessions and messages, will delay."""

from dataclasses import replace
from typing import Any

from mqproof.dissectors.mqtt.codec import Connect, Publish, Pubrel, prop
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, fault
from mqproof.harness.saboteur.mqtt_making import client, count, defects, ids, with_property

FOREVER = 0xFFFFFFFF  # a Session Expiry Interval that never passes

defects(
    ("keep-alive-ignored", "4:3.1.2-24 5:3.1.2-22 5:3.2.2-22 4:3.1.2-8 5:3.1.2-8"),
    ("keep-alive-early", "4:3.1.2-24 5:3.1.2-22 5:3.2.2-22"),
    ("session-expiry-ignored", "5:4.1.0-2"),
    ("expiry-ignored", "5:3.3.2-5"),
    ("expiry-not-reduced", "5:3.3.2-6"),
    ("expiry-of-started", "5:4.3.3-7"),
    ("will-delay-ignored", "5:3.1.2-8 5:3.1.3-9"),
    ("will-survives-resume", "5:3.1.3-9"),
)


@fault("expired-exchange-forgotten", *ids("5:4.3.3-13"), says="PUBREL for a message that has expired is not answered")
class ExpiredExchangeForgotten(MqttFault):
    """After one second, whatever the message's interval is."""

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Publish) and packet.qos == 2 and prop(packet.properties, "message_expiry_interval"):
            conn.after(1, lambda: conn.memory.update({packet.packet_id: "expired"}))
        return [] if isinstance(packet, Pubrel) and packet.packet_id in conn.memory else None


@fault("keep-alive-0-watched", *ids("4:3.1.2-24 5:3.1.2-22"), says="a client whose keep-alive is 0 is dropped, too")
class KeepAlive0Watched(MqttFault):
    """After one and a half seconds of silence, as if it had said 1."""

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Connect) and packet.keep_alive == 0:
            conn.memory["watched"] = True
        if "watched" in conn.memory:
            heard = count(conn)
            conn.after(1.5, lambda: conn.close() if conn.memory["count"] == heard else None)
        return None


def quarter(packet: Connect, conn: MqttConn) -> MqttResult:
    """A stored session lasts a quarter of the time that its client asked for."""
    seconds = prop(packet.properties, "session_expiry_interval")
    if not seconds or seconds == FOREVER:
        return None
    return [with_property(packet, "session_expiry_interval", lambda asked: asked // 4)]


client("session-expiry-early", "5:3.1.2-23", "sessions expire after a quarter of their interval", Connect, quarter)


def tripled(packet: Connect, conn: MqttConn) -> MqttResult:
    """The broker waits for twice the keep-alive that the client named, and half of it again."""
    return [replace(packet, keep_alive=2 * packet.keep_alive)] if packet.keep_alive else None


client(
    "keep-alive-at-three-times", "4:3.1.2-24 5:3.1.2-22", "silent clients are dropped after three keep-alives",
    Connect, tripled,
)  # fmt: skip


def delayed(packet: Connect, conn: MqttConn) -> MqttResult:
    """A will waits ten seconds longer than its client asked for."""
    if packet.will is None or conn.version != 5:
        return None
    will = with_property(packet.will, "will_delay_interval", lambda seconds: (seconds or 0) + 10)
    return [replace(packet, will=will)]


client("will-late", "5:3.1.2-8", "wills are published ten seconds late", Connect, delayed)
