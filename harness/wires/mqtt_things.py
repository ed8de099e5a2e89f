"""What a test makes on an MQTT broker, and its removal: sessions that outlive a connection, and retained messages."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mqproof.dissectors.mqtt.codec import Connack, Connect, Disconnect, Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked


@dataclass(slots=True)
class Things:
    """The names of one test. ``sessions``: client ids whose session may outlive its connection, with their version."""

    name: Callable[[str], str]
    client_id: Callable[[], str]
    sessions: dict[str, Version] = field(default_factory=dict)
    retained: set[str] = field(default_factory=set)

    def note_connect(self, packet: Connect) -> None:
        """Remember a session that must be removed."""
        if packet.client_id and (not packet.clean_start or packet.version is Version.V5_0):
            self.sessions[packet.client_id] = packet.version

    def note_publish(self, packet: Publish) -> None:
        """Remember a retained message that must be cleared."""
        if packet.retain and packet.payload:
            self.retained.add(packet.topic)


def remove(target: Target, things: Things, version: Version) -> None:
    """End the sessions and clear the retained messages of one test; gone ones are fine. Raises Blocked."""
    from mqproof.harness.wires.mqtt import MqttWire

    for client_id, spoken in things.sessions.items():
        wire = MqttWire(target, things, spoken, title="MQTT removal of a session")
        try:
            wire.send(wire.hello(client_id=client_id))
            wire.expect(Connack, reason_code=0)
            wire.send(Disconnect())
        finally:
            wire.close()
    if not things.retained:
        return
    wire = MqttWire(target, things, version, title="MQTT removal of retained messages")
    try:
        wire.connect()
        for topic in things.retained:
            wire.send(Publish(topic, retain=True))
        wire.ping()
    except Blocked as blocked:
        raise Blocked(f"retained messages could not be removed: {blocked}") from None
    finally:
        wire.close()
