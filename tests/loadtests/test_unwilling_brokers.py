"""A broker that refuses, or is gone in the middle, is exit code 3 with one line that says why, and is not accused."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from mqproof.dissectors.amqp.codec import Method, method
from mqproof.dissectors.mqtt.codec import Connack, Publish, Suback
from mqproof.harness.ledger import GONE, NOTHING_CAME, UNEXPLAINED
from mqproof.harness.proxy.core import Passage, ProxyLoop
from mqproof.harness.saboteur.core import AmqpConn, AmqpFault, AmqpResult, MqttConn, MqttFault, MqttResult, passage_for
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.base import LocalBroker

pytestmark = pytest.mark.whole_run
FEW = ("--users", "2", "--rate", "20", "--duration", "0.5")
Command = Callable[..., "subprocess.CompletedProcess[str]"]


class NoSubscription(MqttFault):
    """Refuses every subscription."""

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        return [replace(packet, reason_codes=(0x80,))] if isinstance(packet, Suback) else None


class Mute(MqttFault):
    """Acknowledges what it does not authorise, and drops it, as MQTT 3.1.1 section 3.3.5 lets it."""

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        return [] if isinstance(packet, Publish) else None


class Full(MqttFault):
    """Lets nobody in when it has let in three: mqproof's first look, the subscriber and one publisher."""

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if not isinstance(packet, Connack):
            return None
        self.memory["clients"] = self.memory.get("clients", 0) + 1
        return [replace(packet, reason_code=3)] if self.memory["clients"] > 3 else None


class Closes(AmqpFault):
    """Answers one method by closing the channel with 403."""

    on: ClassVar[str]

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not isinstance(frame, Method) or frame.name != self.on:
            return None
        conn.to_client(method("channel.close", 1, reply_code=403, reply_text="ACCESS_REFUSED - not for you"))
        return []


class NoQueue(Closes):
    """Nobody may declare."""

    on = "queue.declare"


class NoConsumer(Closes):
    """Nobody may consume."""

    on = "basic.consume"


class NoMessage(Closes):
    """Nobody may publish."""

    on = "basic.publish"


class Watch(Passage):
    """Tells when the first of a load's messages is delivered."""

    def __init__(self, link: Any, delivering: threading.Event) -> None:
        super().__init__(link)
        self._delivering = delivering

    def from_broker(self, octets: bytes) -> None:
        if b"MQP1" in octets:
            self._delivering.set()
        super().from_broker(octets)


@pytest.mark.parametrize(
    ("scenario", "fault", "words", "cause"),
    [
        ("throughput", NoSubscription, "refused with 0x80: may this user subscribe there?", None),
        ("throughput", Mute, "messages arrived: may this user publish and subscribe there?", NOTHING_CAME),
        ("welcome-email", Mute, "messages arrived: may this user publish and subscribe there?", NOTHING_CAME),
        ("throughput", Full, "CONNECT: refused with 3", None),
        ("throughput", NoQueue, "the broker says 403 ACCESS_REFUSED", None),
        ("welcome-email", NoQueue, "the broker says 403 ACCESS_REFUSED", None),
        ("throughput", NoConsumer, "the broker says 403 ACCESS_REFUSED", None),
        ("welcome-email", NoConsumer, "no worker is left: the broker says 403 ACCESS_REFUSED", GONE),
        ("throughput", NoMessage, "the broker says 403 ACCESS_REFUSED", NOTHING_CAME),
        ("fleet-tracker", NoMessage, "the broker says 403 ACCESS_REFUSED", NOTHING_CAME),
    ],
)
def test_a_broker_that_refuses_is_named_with_its_reason(
    scenario: str, fault: Any, words: str, cause: str | None, embedded: LocalBroker, mqproof: Command, tmp_path: Path
) -> None:
    protocol = "mqtt" if issubclass(fault, MqttFault) else "amqp"
    with ProxyLoop() as loop:
        url = loop.proxy(embedded.target(protocol), passage_for(fault())).target.url
        done = mqproof("load", scenario, url, *FEW, "--out", tmp_path)
    assert (done.returncode, words in done.stderr) == (3, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
    if cause is None:
        assert list(tmp_path.iterdir()) == []
        return
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["complete"] is False
    (entry,) = run["loads"]
    assert set(entry["ledger"]["lost_by_cause"]) == {cause}
    assert entry["ledger"]["confirmed_lost"] == 0


def test_a_queue_that_is_not_durable_may_go_with_the_broker(tmp_path: Path) -> None:
    """AMQP 0-9-1 section 3.1.4: only durable queues remain when a server restarts, whoever has confirmed."""
    with DRIVERS["embedded"].start(["amqp"]) as broker, ProxyLoop() as loop:
        delivering = threading.Event()
        url = loop.proxy(broker.target("amqp"), lambda link: Watch(link, delivering)).target.url
        options = ("--duration", "6", "--rate", "100", "--out", str(tmp_path))
        command = [sys.executable, "-m", "mqproof.harness.cli", "load", "worker-crash", url, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert delivering.wait(60)
            broker.kill()
            broker.restart("hard")
            _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said
    (entry,) = json.loads((tmp_path / "run.json").read_text())["loads"]
    assert GONE in entry["ledger"]["lost_by_cause"]
    assert entry["ledger"]["confirmed_lost"] == 0


@pytest.mark.parametrize(
    ("protocol", "scenario"),
    [("amqp", "throughput"), ("mqtt", "throughput"), ("amqp", "welcome-email"), ("mqtt", "welcome-email"),
     ("mqtt", "durability-cost"), ("amqp", "fleet-tracker")],
)  # fmt: skip
def test_a_broker_that_dies_in_the_middle_is_named_and_not_accused(
    protocol: str, scenario: str, tmp_path: Path
) -> None:
    delivering = threading.Event()
    with DRIVERS["embedded"].start([protocol]) as broker, ProxyLoop() as loop:
        url = loop.proxy(broker.target(protocol), lambda link: Watch(link, delivering)).target.url
        options = ("--duration", "6", "--rate", "20", "--users", "3", "--out", str(tmp_path))
        command = [sys.executable, "-m", "mqproof.harness.cli", "load", scenario, url, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert delivering.wait(60)
            broker.kill()
            _, said = process.communicate(timeout=150)
    lines = [line for line in said.splitlines() if "has no use for" not in line]
    assert (process.returncode, len(lines)) == (3, 1), said
    run = json.loads((tmp_path / "run.json").read_text())
    (entry,) = run["loads"]
    assert entry["metrics"]["delivered"] > 0
    assert UNEXPLAINED not in entry["ledger"]["lost_by_cause"]
    assert run["complete"] is False


def test_a_file_that_cannot_be_written_takes_no_results_away(mqproof: Command, tmp_path: Path) -> None:
    (tmp_path / "locust").write_text("in the way of Locust's own page")
    done = mqproof("load", "throughput", "embedded-mqtt", *FEW, "--out", tmp_path)
    assert (done.returncode, "a file beside the results is not whole" in done.stdout) == (0, True), done.stderr
    assert json.loads((tmp_path / "run.json").read_text())["loads"][0]["metrics"]["delivered"] == 10
