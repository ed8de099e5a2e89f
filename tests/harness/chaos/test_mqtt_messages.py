"""Each disturbance of MQTT messages, as a subscriber and a publisher meet it, at every QoS."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mqproof.dissectors.mqtt.codec import Puback, Pubcomp, Publish, Pubrec, Pubrel
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.chaos.saboteur import Saboteur
from mqproof.harness.chaos.scenario import Plan, Scenario
from mqproof.harness.probing.limits import ProbeNames
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.mqtt import MqttWire
from mqproof.harness.wires.mqtt_link import Belongings

Wires = Callable[[Target], MqttWire]
EVERY_QOS = pytest.mark.parametrize("qos", [0, 1, 2])
ACKNOWLEDGED = pytest.mark.parametrize("qos", [1, 2])


@pytest.fixture(params=[Version.V3_1_1, Version.V5_0], ids=["v3", "v5"])
def wires(request: pytest.FixtureRequest) -> Iterator[Wires]:
    names, made = ProbeNames(), list[MqttWire]()

    def connect(target: Target, **values: Any) -> MqttWire:
        made.append(MqttWire(target, request.param, Belongings(names)).connect(names.client_id(), **values))
        return made[-1]

    yield connect
    for wire in made:
        wire.close()


class Pair:
    """A subscriber through the saboteur and a publisher beside it."""

    def __init__(self, wires: Wires, behind: Target, saboteur: Saboteur, topic: str) -> None:
        self.topic = topic
        self.subscriber, self.publisher = wires(saboteur.target), wires(behind)
        self.subscriber.subscribe(topic, qos=2)

    def publish(self, qos: int, *bodies: bytes) -> None:
        for body in bodies:
            self.publisher.deliver(self.topic, body, qos=qos)


def plays(name: str, topic: str) -> Scenario:
    return Scenario((Plan(name, only={"topic": topic}),))


def bodies(packets: list[Publish]) -> list[bytes]:
    return [packet.payload for packet in packets]


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    return ProbeNames()("topic")


def delivered(wires: Wires, target: Target, stand: Any, fault: str, topic: str, qos: int) -> list[bytes]:
    pair = Pair(wires, target, stand(target, plays(fault, topic)), topic)
    pair.publish(qos, b"m0", b"m1")
    return [packet.payload for packet in pair.subscriber.settle(pair.publisher) if packet.topic == topic]


@EVERY_QOS
def test_a_message_is_delivered_twice(mqtt_target: Target, wires: Wires, stand: Any, topic: str, qos: int) -> None:
    found = delivered(wires, mqtt_target, stand, "duplicate-delivery", topic, qos)
    assert found == [b"m0", b"m0", b"m1", b"m1"]


@EVERY_QOS
def test_a_delivery_is_lost_and_acknowledged(
    mqtt_target: Target, wires: Wires, stand: Any, topic: str, qos: int
) -> None:
    assert delivered(wires, mqtt_target, stand, "lost-delivery", topic, qos) == []


@EVERY_QOS
def test_a_payload_is_changed(mqtt_target: Target, wires: Wires, stand: Any, topic: str, qos: int) -> None:
    assert delivered(wires, mqtt_target, stand, "changed-body", topic, qos) == [b"m1", b"m0"]


@EVERY_QOS
def test_a_delivery_changes_places_with_the_next(
    mqtt_target: Target, wires: Wires, stand: Any, topic: str, qos: int
) -> None:
    saboteur = stand(mqtt_target)
    pair = Pair(wires, mqtt_target, saboteur, topic)
    late = saboteur.fault("reordered-delivery", delay=20, only=f"topic={topic}")
    pair.publish(qos, b"m0")
    pair.subscriber.ping()
    while not late.count:
        pair.subscriber.ping()
    late.stop()
    pair.publish(qos, b"m1")
    assert bodies(pair.subscriber.must_get(2)) == [b"m1", b"m0"]


@EVERY_QOS
def test_a_publish_is_lost_and_confirmed(mqtt_target: Target, wires: Wires, stand: Any, topic: str, qos: int) -> None:
    subscriber, publisher = wires(mqtt_target), wires(stand(mqtt_target, plays("lost-publish", topic)).target)
    subscriber.subscribe(topic, qos=2)
    publisher.deliver(topic, b"lost", qos=qos)
    assert [packet for packet in subscriber.settle(publisher) if packet.topic == topic] == []


@EVERY_QOS
def test_a_publish_reaches_the_broker_twice(
    mqtt_target: Target, wires: Wires, stand: Any, topic: str, qos: int
) -> None:
    subscriber, publisher = wires(mqtt_target), wires(stand(mqtt_target, plays("duplicate-publish", topic)).target)
    subscriber.subscribe(topic, qos=2)
    publisher.deliver(topic, b"twice", qos=qos)
    assert bodies(subscriber.must_get(2)) == [b"twice", b"twice"]


@ACKNOWLEDGED
def test_a_confirm_is_lost(mqtt_target: Target, wires: Wires, stand: Any, topic: str, qos: int) -> None:
    publisher = wires(stand(mqtt_target, plays("lost-confirm", topic)).target)
    number = publisher.publish(topic, qos=qos)
    if qos == 2:
        publisher.expect(Pubrec, packet_id=number)
        publisher.send(Pubrel(number))
    publisher.ping()  # answered later than the confirm would have come
    assert not publisher.arrived(Puback, Pubcomp)


@ACKNOWLEDGED
def test_a_publish_is_refused_in_5_0_only(
    mqtt_target: Target, wires: Wires, stand: Any, topic: str, qos: int
) -> None:
    publisher = wires(stand(mqtt_target, plays("refused-publish", topic)).target)
    number = publisher.publish(topic, qos=qos)
    answer = publisher.expect(Puback if qos == 1 else Pubrec, packet_id=number)
    assert answer.reason_code == (0x97 if publisher.is_v5 else 0)


def test_an_acknowledgement_is_lost_and_the_message_comes_again(
    mqtt_target: Target, wires: Any, stand: Any, topic: str
) -> None:
    target = stand(mqtt_target, plays("lost-ack", topic)).target
    properties = {"session_expiry_interval": 100}
    first = wires(target, keep=True)
    first.subscribe(topic, qos=1)
    wires(mqtt_target).deliver(topic, b"again", qos=1)
    first.must_get(1)
    first.ping()
    first.cut()
    more = {"properties": properties} if first.is_v5 else {}
    again = MqttWire(mqtt_target, first.version, first.belongings)
    again.connect(first.client_id, keep=True, clean_start=False, **more)
    assert again.must_get(1)[0].dup
    again.close()


def test_an_alias_is_told_though_its_first_message_is_lost(mqtt_target: Target, stand: Any, topic: str) -> None:
    names = ProbeNames()
    saboteur = stand(mqtt_target)
    target = saboteur.target
    subscriber = MqttWire(mqtt_target, Version.V5_0, Belongings(names)).connect(names.client_id())
    publisher = MqttWire(target, Version.V5_0, Belongings(names)).connect(names.client_id())
    subscriber.subscribe(topic, qos=1)
    with saboteur.fault("lost-publish", only=f"topic={topic}"):
        publisher.deliver(topic, b"lost", qos=1, properties=(("topic_alias", 1),))
    publisher.deliver("", b"there", qos=1, properties=(("topic_alias", 1),))
    publisher.deliver("", b"there too", qos=1, properties=(("topic_alias", 1),))
    assert bodies(subscriber.must_get(2)) == [b"there", b"there too"]
    publisher.close()
    subscriber.close()


@pytest.mark.parametrize("fault", ["cut-on-delivery", "cut-on-publish"])
def test_the_connection_is_cut(mqtt_target: Target, wires: Wires, stand: Any, topic: str, fault: str) -> None:
    wire = wires(stand(mqtt_target, plays(fault, topic)).target)
    wire.subscribe(topic, qos=1)
    wire.publish(topic, qos=1)
    ended, _ = wire.reaction(probe=False)
    assert ended.closed
