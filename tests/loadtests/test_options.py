"""What the options of ``mqproof load`` make happen, seen on the wire and in the ledger."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt.codec import Publish
from mqproof.harness.ledger import ASKED
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.saboteur.core import AmqpConn, AmqpFault, AmqpResult, MqttConn, MqttFault, MqttResult, passage_for
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.target import Target

pytestmark = pytest.mark.whole_run

Load = Callable[..., dict[str, Any]]
SHORT = ("--users", "2", "--rate", "200", "--duration", "1")
FAULTS = ("lost", "duplicated", "reordered", "corrupted", "unexpected", "confirmed_lost")


class AmqpSeen(AmqpFault):
    """Changes nothing; counts what the client sends."""

    def __init__(self) -> None:
        super().__init__()
        self.methods: Counter[str] = Counter()
        self.sizes: Counter[int] = Counter()
        self.properties: dict[str, Any] = {}
        self.requeues: set[bool] = set()

    def from_client(self, frame: amqp.Frame, conn: AmqpConn) -> AmqpResult:
        if isinstance(frame, amqp.Method):
            self.methods[frame.name] += 1
            if frame.name == "basic.nack":
                self.requeues.add(frame.arguments["requeue"])
        elif isinstance(frame, amqp.ContentHeader):
            self.sizes[frame.body_size] += 1
            self.properties = frame.properties
        return None


class MqttSeen(MqttFault):
    """Changes nothing; counts the sizes of what is published, and how many of each publisher are unconfirmed."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: Counter[int] = Counter()

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Publish):
            self.sizes[len(packet.payload)] += 1
        return None


@pytest.fixture(params=["embedded", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Target:
    target: Target = request.getfixturevalue(request.param).target("amqp")
    return target


@pytest.fixture(params=["embedded", "mosquitto"])
def mqtt_broker(request: pytest.FixtureRequest) -> Target:
    target: Target = request.getfixturevalue(request.param).target("mqtt")
    return target


def watched(load: Load, target: Target, seen: Any, folder: Path, *options: object) -> dict[str, Any]:
    with ProxyLoop() as loop:
        proxied = loop.proxy(target, passage_for(seen)).target
        return load("throughput", proxied.url, *SHORT, *options, "--out", folder)


def faults(result: dict[str, Any]) -> dict[str, int]:
    return {name: result["ledger"][name] for name in FAULTS if result["ledger"][name]}


def test_sizes_properties_acknowledgements_and_a_ramp(broker: Target, load: Load, tmp_path: Path) -> None:
    seen = AmqpSeen()
    options = ("--sizes", "100,1000", "--multi-ack", "20", "--ramp", "1", "--property", "priority=3",
               "--property", "content-type=text/plain", "--property", "expiration=600000",
               "--queue-argument", "x-max-priority=5")  # fmt: skip
    result = watched(load, broker, seen, tmp_path, *options)
    assert faults(result) == {}
    assert result["metrics"]["delivered"] == result["metrics"]["published"] == 100  # half of what the rate says
    assert set(seen.sizes) == {100, 1000}
    assert {key: seen.properties[key] for key in ("priority", "content_type", "expiration")} == {
        "priority": 3, "content_type": "text/plain", "expiration": "600000",
    }  # fmt: skip
    assert 1 <= seen.methods["basic.ack"] <= 100 / 20 + 1
    assert (tmp_path / "locust" / f"throughput-{result['target'].replace(':', '-')}.html").stat().st_size > 10_000


def test_polling_asks_for_each_message(broker: Target, load: Load, tmp_path: Path) -> None:
    seen = AmqpSeen()
    result = watched(load, broker, seen, tmp_path, "--poll", "0.005")
    assert faults(result) == {}
    assert result["metrics"]["delivered"] == 200
    assert seen.methods["basic.get"] >= 200
    assert "basic.consume" not in seen.methods


@pytest.mark.parametrize("how", ["--requeue", "--discard"])
def test_refused_messages_come_again_or_not_at_all(broker: Target, how: str, load: Load, tmp_path: Path) -> None:
    seen = AmqpSeen()
    result = watched(load, broker, seen, tmp_path, "--nack-every", "10", how)
    refused = result["counts"]["refused by the consumer"]
    assert seen.methods["basic.nack"] == refused >= 10
    assert seen.requeues == {how == "--requeue"}
    assert faults(result) == ({"duplicated": refused} if how == "--requeue" else {})
    assert result["metrics"]["delivered"] == 200


def test_what_a_limit_that_was_asked_for_discards_accuses_nobody(broker: Target, load: Load, tmp_path: Path) -> None:
    options = ("--queue-argument", "x-max-length=1", "--prefetch", "1", "--consumer-rate", "20")
    found = watched(load, broker, AmqpSeen(), tmp_path, *options)["ledger"]
    assert found["lost"] > 50
    assert set(found["lost_by_cause"]) == {ASKED}
    assert (found["confirmed_lost"], found["examples"]) == (0, [])


def test_sizes_and_a_ramp_on_mqtt(mqtt_broker: Target, load: Load, tmp_path: Path) -> None:
    seen = MqttSeen()
    options = ("--sizes", "50,500", "--ramp", "1", "--max-unconfirmed", "5", "--mqtt-version", "5.0")
    result = watched(load, mqtt_broker, seen, tmp_path, *options)
    assert faults(result) == {}
    assert result["metrics"]["delivered"] == result["metrics"]["confirmed"] == 100
    assert set(seen.sizes) == {50, 500}


def test_more_publishers_than_messages_send_all_of_them(mqtt_broker: Target, load: Load, tmp_path: Path) -> None:
    result = load("p2p", mqtt_broker.url, "--users", "30", "--rate", "10", "--duration", "1", "--out", tmp_path)
    assert faults(result) == {}
    assert result["metrics"]["delivered"] == result["metrics"]["published"] == 10


def test_devices_keep_alive_while_others_still_connect(mosquitto: LocalBroker, load: Load, tmp_path: Path) -> None:
    """Mosquitto cuts off who is silent for one and a half times the keep-alive; connecting takes twice as long."""
    options = ("--users", "8", "--connect-rate", "2", "--keep-alive", "1", "--rate", "100", "--duration", "1")
    result = load("fleet-tracker", mosquitto.target("mqtt").url, *options, "--out", tmp_path)
    assert faults(result) == {}
    assert "devices that the broker disconnected" not in result["counts"]
    assert result["metrics"]["delivered"] == result["metrics"]["published"] == 100 + 8
