"""MQTT section 4.1: sessions and retained messages outlive a restart in good order of a broker that stores them.

Section 4.1.1 lets a server lose what hardware or a crash destroys, so that only a restart in good order accuses.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.mqtt import MqttWire
from mqproof.harness.wires.mqtt_link import Belongings
from mqproof.harness.wires.mqtt_packets import PUBLISH

pytestmark = [pytest.mark.destructive, pytest.mark.slow, pytest.mark.needs("durable_storage")]
STORED = ("mqtt-3.1.1:MQTT-4.1.0-1", "mqtt-3.1.1:MQTT-3.1.2-4", "mqtt-5.0:MQTT-3.1.2-23")


@dataclass(slots=True)
class Found:
    """What was there after the restart; payloads in their order."""

    present: bool = False
    waiting: list[bytes] = field(default_factory=list)
    again: list[tuple[bytes, bool, bool]] = field(default_factory=list)  # payload, DUP, the same packet identifier
    live: list[bytes] = field(default_factory=list)
    retained: list[tuple[bytes, bool]] = field(default_factory=list)


class OwnNames:
    """Names on a broker that nobody else uses."""

    def __init__(self) -> None:
        self._serial = count(1)

    def __call__(self, what: str = "name") -> str:
        """Return a new name."""
        return f"{what}-{next(self._serial):04x}"

    def client_id(self) -> str:
        """Return a new client identifier."""
        return f"restart{next(self._serial):04x}"


@pytest.fixture(scope="module")
def mqtt_restarts(
    own_brokers: Callable[[Target], tuple[LocalBroker, Target]],
) -> Callable[[Target, Version], Found]:
    """``mqtt_restarts(target, version)``: what was found after a restart, done at the first call."""
    done: dict[tuple[str | None, Version], Found] = {}

    def restart(target: Target, version: Version) -> Found:
        key = target.driver, version
        if key not in done:
            done[key] = restarted(*own_brokers(target), version)
        return done[key]

    return restart


def restarted(broker: LocalBroker, target: Target, version: Version) -> Found:
    """Store a session with messages that wait and one that was not acknowledged; restart; look."""
    belongings = Belongings(OwnNames())
    topic, client_id = f"restart/{version.name}", f"restart{version.name.replace('_', '')}"

    def dial(given: str | None = None) -> MqttWire:
        return MqttWire(target, version, belongings).connect(given, keep=given is not None)

    publisher, subscriber = dial(), dial(client_id)
    subscriber.subscribe(f"{topic}/+", qos=1)
    publisher.deliver(f"{topic}/begun", b"begun", qos=1)
    begun = subscriber.expect(PUBLISH, payload=b"begun").packet_id
    subscriber.close()
    for number in range(5):
        publisher.deliver(f"{topic}/waits", b"%d" % number, qos=1)
    publisher.deliver(f"{topic}", b"kept", qos=1, retain=True)
    publisher.disconnect()
    broker.restart("soft")
    publisher, subscriber = dial(), dial(client_id)
    found = Found(bool(subscriber.connack.session_present))
    publisher.deliver(f"{topic}/live", b"live", qos=1)
    got, _ = subscriber.messages(lambda so_far: len(so_far) >= 7)
    found.again = [(p.payload, p.dup, p.packet_id == begun) for p in got if p.payload == b"begun"]
    found.waiting = [p.payload for p in got if p.topic == f"{topic}/waits"]
    found.live = [p.payload for p in got if p.topic == f"{topic}/live"]
    late = dial()
    late.subscribe(topic, qos=1)
    found.retained = [(p.payload, p.retain) for p in late.settle(publisher, at_least=1)]
    return found


@pytest.mark.normative(*STORED, "mqtt-3.1.1:MQTT-3.2.2-2", "mqtt-5.0:MQTT-3.2.2-3")
def test_stored_session_is_present_after_restart(target, version, mqtt_restarts):
    assert mqtt_restarts(target, version).present


@pytest.mark.normative(*STORED)
def test_subscriptions_of_a_stored_session_survive_restart(target, version, mqtt_restarts):
    assert mqtt_restarts(target, version).live == [b"live"]


@pytest.mark.normative(*STORED, "mqtt-3.1.1:MQTT-3.1.2-5", "mqtt-3.1.1:MQTT-4.6.0-6", "mqtt-5.0:MQTT-4.6.0-5")
def test_waiting_messages_survive_restart_in_their_order(target, version, mqtt_restarts):
    assert mqtt_restarts(target, version).waiting == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.normative(*STORED, "mqtt-3.1.1:MQTT-4.4.0-1", "mqtt-5.0:MQTT-4.4.0-1")
def test_unacknowledged_message_comes_again_after_restart(target, version, mqtt_restarts):
    assert [payload for payload, _, _ in mqtt_restarts(target, version).again] == [b"begun"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-7", "mqtt-3.1.1:MQTT-3.3.1-5", "mqtt-5.0:MQTT-3.3.1-5")
def test_retained_message_survives_restart(target, version, mqtt_restarts):
    assert mqtt_restarts(target, version).retained == [(b"kept", True)]
