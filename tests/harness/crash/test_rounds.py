"""Disruptions end to end: embedded brokers keep their promises, lying ones are found out, real ones run once."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import jsonschema
import pytest
from mqproof.harness.cli import crash as crash_command
from mqproof.harness.crash import rounds
from mqproof.harness.crash.amqp_load import PREFETCH, AmqpConsumer, remove
from mqproof.harness.crash.disruptions import DISRUPTIONS, Scene
from mqproof.harness.crash.handshakes import STEPS, interrupted
from mqproof.harness.crash.load import Lost, Worker, wait_for
from mqproof.harness.crash.mqtt_load import MqttSubscriber
from mqproof.harness.verdicts import Blocked, Verdict

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-P", "-m", "mqproof.harness.cli", "crash"]


@pytest.mark.alike
@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
def test_the_embedded_broker_keeps_its_promises_when_it_is_cut_off(protocol: str) -> None:
    with rounds.crash_broker("embedded", protocol) as (broker, target):
        for name in ("cut", "fill"):
            outcome = rounds.disturb(broker, target, name)
            assert (outcome.verdict, outcome.error, outcome.problems) == (Verdict.CONFORMS, "", [])
            assert outcome.numbers["confirmed"] >= rounds.BEFORE + rounds.AFTER


@pytest.mark.parametrize("step", STEPS)
def test_a_connection_cut_at_each_step_of_qos_2_delivers_once(step: str) -> None:
    with rounds.crash_broker("embedded", "mqtt") as (_, target):
        pair = interrupted(target, step, lambda: None)  # the connections are closed, the sessions stay
        assert pair.history.problems() == []
        assert pair.sessions_lost == 0
        pair.close()


def faulty(fault: str, **options: float) -> Callable[[Scene], None]:
    """A disruption that makes the broker lie from now on."""

    def disrupt(scene: Scene) -> None:
        scene.saboteur.fault(fault, **options)  # type: ignore[arg-type]

    return disrupt


@pytest.mark.alike
@pytest.mark.parametrize(
    ("protocol", "fault", "kind"),
    [
        ("amqp", "lost-publish", "confirmed-lost"),
        ("amqp", "lost-delivery", "confirmed-lost"),
        ("mqtt", "lost-publish", "confirmed-lost"),
        ("mqtt", "duplicate-delivery", "duplicated"),
    ],
)
def test_a_broker_that_lies_is_found_out(
    monkeypatch: pytest.MonkeyPatch, protocol: str, fault: str, kind: str
) -> None:
    monkeypatch.setattr(rounds, "DRAIN", 0.5)
    monkeypatch.setitem(DISRUPTIONS, "lie", faulty(fault, probability=0.2))
    with rounds.crash_broker("embedded", protocol) as (broker, target):
        outcome = rounds.disturb(broker, target, "lie")
    assert outcome.verdict is Verdict.DEVIATES
    assert kind in {problem.kind for problem in outcome.problems}


def lost_acks(scene: Scene) -> None:
    """Acknowledgements are lost until all that came counts as settled, and then the consumer connects anew."""
    (history,), (consumer,) = scene.histories, scene.consumers
    with scene.saboteur.fault("lost-ack") as fault:
        assert wait_for(lambda: fault.count >= PREFETCH, rounds.RECOVERY)  # and no more comes before an acknowledgement
        assert wait_for(lambda: len(history.settled) == len(history.deliveries), rounds.RECOVERY)
    consumer.waiting.set()
    assert wait_for(lambda: not consumer.serving.is_set(), rounds.RECOVERY)
    consumer.waiting.clear()


@pytest.mark.alike
@pytest.mark.parametrize(("protocol", "consumer"), [("amqp", AmqpConsumer), ("mqtt", MqttSubscriber)])
def test_nothing_counts_as_lost_before_the_consumer_is_back(
    monkeypatch: pytest.MonkeyPatch, protocol: str, consumer: type[Worker]
) -> None:
    connect = consumer.connect

    def connect_late(self: Worker) -> None:
        if self.connections > 1:
            self.pause(4 * rounds.DRAIN)
        connect(self)

    monkeypatch.setattr(rounds, "DRAIN", 0.5)
    monkeypatch.setattr(consumer, "connect", connect_late)
    with rounds.crash_broker("embedded", protocol) as (broker, target):
        outcome = rounds.disturb(broker, target, "cut")
    assert (outcome.verdict, outcome.error, outcome.problems) == (Verdict.CONFORMS, "", [])


@pytest.mark.parametrize(("protocol", "consumer"), [("amqp", AmqpConsumer), ("mqtt", MqttSubscriber)])
@pytest.mark.parametrize(("error", "told"), [(Lost(), ""), (Blocked("channel.close 404"), ": channel.close 404")])
def test_nothing_but_the_reason_is_said_where_a_consumer_never_comes_back(
    monkeypatch: pytest.MonkeyPatch, protocol: str, consumer: type[Worker], error: Exception, told: str
) -> None:
    connect = consumer.connect

    def connect_once(self: Worker) -> None:
        if self.connections > 1:
            raise error
        connect(self)

    def fence_soon(publishers: list[Worker], consumers: list[Worker]) -> None:
        monkeypatch.setattr(rounds, "RECOVERY", 1.0)  # and not before: a slow start is another error
        fence(publishers, consumers)

    fence = rounds._fence
    monkeypatch.setattr(rounds, "_fence", fence_soon)
    monkeypatch.setattr(consumer, "connect", connect_once)
    with rounds.crash_broker("embedded", protocol) as (broker, target):
        outcome = rounds.disturb(broker, target, "cut")
    assert (outcome.verdict, outcome.error) == (Verdict.INCONCLUSIVE, f"a consumer has not come back within 1 s{told}")


def test_a_broker_that_does_not_start_again_is_replaced_for_the_next_disruption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brokers: list[str] = []
    seen: list[tuple[str, str]] = []

    @contextmanager
    def crash_broker(driver: str, protocol: str) -> Iterator[tuple[str, str]]:
        brokers.append(f"{driver} {len(brokers) + 1}")
        yield brokers[-1], protocol

    def disturb(broker: str, target: str, name: str) -> rounds.Outcome:
        seen.append((broker, name))
        return rounds.Outcome("d", target, name, is_broker_lost=len(seen) == 1)

    monkeypatch.setattr(rounds, "crash_broker", crash_broker)
    monkeypatch.setattr(rounds, "disturb", disturb)
    _, outcomes = crash_command._rounds("d", "amqp", ["kill", "cut"], 2, Event(), quiet=True)
    assert [outcome.disruption for outcome in outcomes] == ["kill", "cut", "kill", "cut"]
    assert seen == [("d 1", "kill"), ("d 2", "cut"), ("d 2", "kill"), ("d 2", "cut")]


def lost_queue(scene: Scene) -> None:
    """The consumer stays away until messages wait for it; then the queue is gone, as after a kill."""
    (consumer,), (history,) = scene.consumers, scene.histories
    assert isinstance(consumer, AmqpConsumer)
    consumer.waiting.set()
    assert wait_for(lambda: len(history.missing) > 20, 10.0)
    history.killed.append(time.monotonic())
    remove(consumer._target, consumer._queue)
    consumer.waiting.clear()


@pytest.mark.slow
def test_a_durable_queue_that_is_gone_is_found_out_with_what_was_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was confirmed later had no queue to go to, which is no loss."""
    monkeypatch.setattr(rounds, "RECOVERY", 4.0)
    monkeypatch.setitem(DISRUPTIONS, "lie", lost_queue)
    with rounds.crash_broker("embedded", "amqp") as (broker, target):
        outcome = rounds.disturb(broker, target, "lie")
    assert (outcome.verdict, outcome.error) == (Verdict.DEVIATES, "")
    (lost,) = outcome.problems
    assert lost.kind == "queue-lost"
    assert 20 <= len(lost.numbers) == outcome.numbers["confirmed_lost"] < outcome.numbers["published"]


def test_a_broker_that_forgets_acknowledgements_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DISRUPTIONS, "lie", lost_acks)
    with rounds.crash_broker("embedded", "amqp") as (broker, target):
        outcome = rounds.disturb(broker, target, "lie")
    assert "acknowledged-back" in {problem.kind for problem in outcome.problems}


@pytest.mark.real_broker
def test_one_round_on_real_brokers(tmp_path: Path) -> None:
    words = [*COMMAND, "--out", str(tmp_path), "--markdown", str(tmp_path / "page.md")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads((tmp_path / "run.json").read_text())
    jsonschema.validate(data, json.loads((ROOT / "harness" / "run.schema.json").read_text()))
    assert data["complete"]
    assert {load["target"] for load in data["loads"]} == {"rabbitmq-amqp", "mosquitto-mqtt"}
    page = (tmp_path / "page.md").read_text()
    assert all(f"| {name} | 1 |" in page for name in (*DISRUPTIONS, f"soft restart, {STEPS[0]}"))


@pytest.mark.alike
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["amqp://localhost"], "is not ours to kill"),
        (["embedded"], "write embedded-amqp"),
        (["embedded-amqp", "--disruption", "earthquake"], "--disruption earthquake: embedded-amqp has"),
        (["embedded-amqp", "--disruption", "kill"], "--disruption kill: embedded-amqp has"),
        (["nobody"], "is no target"),
    ],
)
def test_nonsense_is_refused_in_one_line(words: list[str], says: str) -> None:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
