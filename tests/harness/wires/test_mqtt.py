"""The MQTT wire: what it sends, what it keeps, who it accuses, and what it leaves behind."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from mqproof.dissectors.mqtt.codec import Disconnect, Pingresp, Puback, Publish, Suback, Will
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.patience import patience
from mqproof.harness.reference.mqtt.limits import Limits
from mqproof.harness.reference.mqtt.server import start_in_thread
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Deviation, Unsupported
from mqproof.harness.wires.mqtt import MqttWire
from mqproof.harness.wires.mqtt_janitor import remove
from mqproof.harness.wires.mqtt_link import Belongings
from mqproof.harness.wires.mqtt_packets import describe, is_like, masked

V4, V5 = Version.V3_1_1, Version.V5_0
Dial = Callable[..., MqttWire]


class Names:
    """Names as the plugin makes them."""

    prefix = "run"

    def __init__(self) -> None:
        self._serial = count()
        self.made: list[str] = []

    def __call__(self, what: str = "name") -> str:
        self.made.append(f"{self.prefix}-{what}-{next(self._serial):04x}")
        return self.made[-1]

    def client_id(self) -> str:
        return f"client{next(self._serial)}"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "factor", 0.1)


@pytest.fixture
def target() -> Iterator[Target]:
    broker = start_in_thread(users={"u": b"secret"})
    yield Target("here", "mqtt", "127.0.0.1", broker.port, user="u", password="secret")
    broker.stop()


@pytest.fixture
def belongings() -> Belongings:
    return Belongings(Names())


@pytest.fixture(params=[V4, V5], ids=lambda version: version.spec)
def version(request: pytest.FixtureRequest) -> Version:
    result: Version = request.param
    return result


@pytest.fixture
def dial(target: Target, version: Version, belongings: Belongings) -> Iterator[Dial]:
    wires: list[MqttWire] = []

    def make(raw: bool = False, **values: object) -> MqttWire:
        wires.append(MqttWire(target, version, belongings))
        return wires[-1] if raw else wires[-1].connect(**values)  # type: ignore[arg-type]

    yield make
    for wire in wires:
        wire.leave()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_come_up_to_their_fence(dial: Dial, qos: int) -> None:
    subscriber, publisher = dial(), dial()
    subscriber.subscribe("t", qos=qos)
    for body in (b"1", b"2", b"fence", b"behind"):
        publisher.deliver("t", body, qos=qos)
    assert [packet.payload for packet in subscriber.until(b"fence")] == [b"1", b"2", b"fence"]
    assert [packet.payload for packet in subscriber.must_get(1)] == [b"behind"]


def test_fence_that_does_not_come_blocks_and_accuses_nobody(dial: Dial) -> None:
    wire = dial()
    with pytest.raises(Blocked, match="did not come: nothing came before the deadline"):
        wire.until(b"fence")


def test_packets_that_nobody_asked_for_wait_in_the_inbox(dial: Dial) -> None:
    wire = dial()
    wire.subscribe("t")
    number = wire.publish("t", b"mine", qos=1)
    wire.expect(Puback, packet_id=number)
    wire.ping()
    assert [packet.payload for packet in wire.arrived(Publish)] == [b"mine"]
    assert wire.arrived(Publish) == []


def test_must_receive_accuses_with_what_came_instead(dial: Dial) -> None:
    wire = dial()
    wire.subscribe("t")
    wire.publish("t", b"other")
    with pytest.raises(Deviation) as raised:
        wire.must_receive(Publish, payload=b"wanted")
    assert raised.value.expected == "PUBLISH payload=b'wanted'"
    assert "payload=b'other'" in raised.value.actual


def test_settle_brings_what_came_and_leaves_the_fence_out(dial: Dial) -> None:
    subscriber, publisher = dial(), dial()
    subscriber.subscribe("t", qos=1)
    publisher.deliver("t", b"a", qos=1)
    assert [packet.payload for packet in subscriber.settle(publisher, at_least=1)] == [b"a"]
    assert subscriber.settle(publisher) == []
    assert any("weak absence" in line.text for line in subscriber.transcript.lines)


def test_must_close_is_content_with_a_close_and_returns_its_code(dial: Dial, version: Version) -> None:
    wire = dial()
    wire.send(b"\x36\x05\0\1t\0\1x")
    assert wire.must_close() == (0x81 if version is V5 else None)
    assert wire.arrived(Suback) == []


def test_must_close_accuses_a_broker_that_answers(dial: Dial) -> None:
    wire = dial()
    wire.send(b"\xc0\0")
    with pytest.raises(Deviation, match="answers and stays open"):
        wire.must_close()


def test_lenient_close_is_a_finding_in_5_0_only(dial: Dial, version: Version) -> None:
    wire = dial()
    if version is V5:
        assert wire.must_close(lenient=True) is None
        assert any("finding" in line.text for line in wire.transcript.lines)
    else:
        with pytest.raises(Deviation):
            wire.must_close(lenient=True)


def test_code_that_is_not_legal_is_a_deviation(dial: Dial, version: Version) -> None:
    wire = dial()
    wire.send(b"\x36\x05\0\1t\0\1x")
    if version is V5:
        with pytest.raises(Deviation, match="0x81"):
            wire.must_close({0x93})
        assert [packet.reason_code for packet in wire.arrived(Disconnect)] == [0x81]


def test_refused_connection_blocks(target: Target, version: Version, belongings: Belongings) -> None:
    wire = MqttWire(target.with_(password="wrong"), version, belongings)
    with pytest.raises(Blocked, match="refuses us"):
        wire.connect()
    wire.close()


def test_no_server_blocks(belongings: Belongings, version: Version) -> None:
    with pytest.raises(Blocked, match="no connection"):
        MqttWire(Target("nobody", "mqtt", "127.0.0.1", 1), version, belongings)


def test_password_is_masked_in_text_and_octets(dial: Dial) -> None:
    line = dial().transcript.lines[0]
    assert "CONNECT" in line.text
    assert "secret" not in line.text
    assert b"secret" not in line.octets
    assert b"******" in line.octets


def test_less_qos_than_asked_for_is_unsupported(version: Version, belongings: Belongings) -> None:
    broker = start_in_thread(limits=Limits(maximum_qos=1))
    wire = MqttWire(Target("weak", "mqtt", "127.0.0.1", broker.port), version, belongings).connect()
    with pytest.raises(Unsupported, match="grants QoS 1"):
        wire.subscribe("t", qos=2)
    wire.leave()
    broker.stop()


def test_qos_2_is_unsupported_where_the_target_lacks_it(
    target: Target, version: Version, belongings: Belongings
) -> None:
    weak = target.with_(capabilities=frozenset({"qos-1"}))
    wire = MqttWire(weak, version, belongings).connect()
    with pytest.raises(Unsupported):
        wire.deliver("t", qos=2)
    wire.leave()


def test_sessions_and_retained_messages_are_removed(
    dial: Dial, target: Target, version: Version, belongings: Belongings
) -> None:
    kept = dial(keep=True)
    kept.subscribe("t", qos=1)
    kept.deliver("t", b"stays", qos=1, retain=True)
    dial(will=Will("w", b"gone", 1, True)).cut()
    kept.disconnect()
    remove(target, version, belongings)
    again = MqttWire(target, version, belongings).connect(kept.client_id, keep=True)
    assert again.connack.session_present is False
    again.subscribe("t", "w", qos=1)
    again.ping()
    assert again.arrived(Publish) == []
    again.leave()
    remove(target, version, belongings)


def test_sizes_are_those_on_the_wire(dial: Dial) -> None:
    wire = dial()
    wire.ping()
    assert wire.sizes()[-1] == 2
    assert isinstance(wire.heard[-1], Pingresp)


def test_packets_in_words_leave_defaults_out() -> None:
    assert describe(Publish("t", b"x", qos=1, packet_id=3)) == "PUBLISH topic='t' payload=b'x' qos=1 packet_id=3"
    assert describe(b"\x30\x00") == "octets 30 00 (2)"
    assert masked(Pingresp()) == Pingresp()
    assert is_like(Puback(3), (Puback, Suback), {"packet_id": {3, 4}})
    assert not is_like(Puback(5), Puback, {"packet_id": {3, 4}})


def test_messages_on_topics_of_other_tests_are_left_out(dial: Dial) -> None:
    """A broker may send what nobody has asked for; only the test that looks for it shall fail."""
    wire, publisher = dial(), dial()
    own = wire.belongings.names("topic")
    strangers = ["run-topic-fff0", "run-topic-fff0/a"]
    wire.subscribe("#", qos=1)
    for topic in (*strangers, "elsewhere", f"a/{own}", own):
        publisher.deliver(topic, b"x", qos=1)
    got = wire.must_get(3)
    assert [packet.topic for packet in got] == ["elsewhere", f"a/{own}", own]
    assert sum("left out" in line.text for line in wire.transcript.lines) == len(strangers)


def test_an_unacknowledged_message_does_not_keep_settle_waiting(dial: Dial) -> None:
    """Some servers handle SUBSCRIBE only when retained messages are acknowledged."""
    wire, publisher = dial(), dial()
    topic = wire.belongings.names("topic")
    publisher.deliver(topic, b"kept", qos=1, retain=True)
    wire.subscribe(topic, qos=1)
    publisher.deliver(topic, b"live", qos=1)
    assert [packet.payload for packet in wire.settle(publisher, at_least=2)] == [b"kept", b"live"]


def test_what_is_unrecorded_arrives_all_the_same_and_a_remark_stands_for_it(dial: Dial) -> None:
    wire = dial()
    wire.subscribe("t")
    before = len(wire.heard)
    with wire.unrecorded("two messages"):
        wire.publish("t", b"seen")
        assert wire.must_receive(Publish, payload=b"seen").payload == b"seen"
    wire.ping()
    assert [line.text for line in wire.transcript.lines[-3:]] == ["two messages", "PINGREQ", "PINGRESP"]
    assert len(wire.heard) == before + 1


def test_disconnect_gives_the_broker_time_to_close(dial: Dial) -> None:
    """What is published next finds the client absent."""
    wire = dial()
    wire.disconnect()
    assert wire.ended is not None
    assert wire.ended.closed
