"""Removes what a test has left at an MQTT broker: its stored sessions and its retained messages."""

from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked
from mqproof.harness.wires.mqtt import MESSAGE, MqttWire
from mqproof.harness.wires.mqtt_link import Belongings


def remove(target: Target, version: Version, belongings: Belongings) -> None:
    """End the sessions, then clear the retained messages, wills' included.

    It is tried again where the broker ends the connection meanwhile. Raises Blocked.
    """
    try:
        _remove(target, version, belongings)
    except Blocked:
        _remove(target, version, belongings)


def _remove(target: Target, version: Version, belongings: Belongings) -> None:
    for client_id in list(belongings.sessions):
        wire = MqttWire(target, version, belongings, title="janitor")
        wire.connect(client_id, clean_start=True).disconnect()
    belongings.sessions.clear()
    if not belongings.retained:
        return
    wire = MqttWire(target, version, belongings, title="janitor").connect()
    fence = belongings.names("fence")
    wire.ask(fence)
    for topic in list(belongings.retained):
        wire.publish(topic, b"", retain=True)
    wire.publish(fence, b"fence")
    wire.messages(lambda so_far: any(packet.topic == fence for packet in so_far), MESSAGE)  # some drop what they hold
    wire.disconnect()
    belongings.retained.clear()
