"""Faults of MQTT brokers, on time: keep-alive, expiry of sessions and messages, will delay."""

from typing import Any

from mqproof.dissectors.mqtt.codec import Connect, prop
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, fault
from mqproof.harness.saboteur.mqtt_making import client, count, defects, ids, with_property

FOREVER = 0xFFFFFFFF  # a Session Expiry Interval that never passes

defects(
    ("keep-alive-ignored", "4:3.1.2-24 5:3.1.2-22 5:3.2.2-22 4:3.1.2-8 5:3.1.2-8"),
    ("keep-alive-early", "4:3.1.2-24 5:3.1.2-22 5:3.2.2-22"),
    ("session-expiry-ignored", "5:4.1.0-2"),
    ("expiry-ignored", "5:3.3.2-5"),
    ("expiry-not-reduced", "5:3.3.2-6"),
    ("expiry-of-started", "5:4.3.3-7 5:4.3.3-13"),
    ("will-delay-ignored", "5:3.1.2-8 5:3.1.3-9"),
    ("will-survives-resume", "5:3.1.3-9"),
)


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
