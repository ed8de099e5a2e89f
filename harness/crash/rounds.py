"""Rounds of disruptions against one broker: each a load, a disruption, a recovery, and the books afterwards."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.awake import Awake
from mqproof.harness.chaos.saboteur import Saboteur
from mqproof.harness.chaos.scenario import Scenario
from mqproof.harness.crash import amqp_load, mqtt_load
from mqproof.harness.crash.disruptions import DISRUPTIONS, NEEDS_STORAGE, QUEUE_LIMIT, Scene
from mqproof.harness.crash.handshakes import STEPS, interrupted, restarting
from mqproof.harness.crash.history import History, Problem
from mqproof.harness.crash.known import allowed_reason, known_reason
from mqproof.harness.crash.load import Lost, Worker, wait_for
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.errors import BrokerFailed
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Verdict

BEFORE, AFTER = 100, 100  # confirmed messages before a disruption, and after it
RECOVERY = 30.0  # seconds
DRAIN = 1.5  # seconds without an arrival after which nothing more is expected
# pieces of work that make some ten messages
FENCES: dict[type[Worker], int] = {amqp_load.AmqpPublisher: 1, mqtt_load.MqttPublisher: 10}
OPTIONS: dict[str, dict[str, str]] = {
    "mosquitto": {
        "autosave_on_changes": "true", "autosave_interval": "1", "max_queued_messages": str(QUEUE_LIMIT),
        "max_inflight_messages": "20",
    },
}  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What one disruption did. ``error``: why nothing can be said. ``seconds``: from its begin to recovery."""

    driver: str
    protocol: str
    disruption: str
    problems: list[Problem] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    is_broker_lost: bool = False  # it did not start again: the next disruption needs another one

    @property
    def unknown(self) -> list[Problem]:
        """The problems that are neither known of this broker nor allowed."""
        return [each for each in self.problems if not self.reason(each.kind)]

    @property
    def allowed(self) -> str:
        """Why the text allows all of the problems; empty where it does not, or where there are none."""
        found = [allowed_reason(self.driver, self.protocol, self.disruption, each.kind) for each in self.problems]
        return found[0] if found and all(found) else ""

    def reason(self, kind: str) -> str:
        """Return why a kind of problem is known or allowed, or an empty text."""
        allowed = allowed_reason(self.driver, self.protocol, self.disruption, kind)
        return allowed or known_reason(self.driver, self.disruption, kind)

    @property
    def verdict(self) -> Verdict:
        """What is to be said of the broker."""
        if self.error:
            return Verdict.INCONCLUSIVE
        if self.unknown:
            return Verdict.DEVIATES
        if self.allowed:
            return Verdict.UNSUPPORTED
        return Verdict.KNOWN_DEVIATION if self.problems else Verdict.CONFORMS


@contextmanager
def crash_broker(driver: str, protocol: str) -> Iterator[tuple[LocalBroker, Target]]:
    """A broker to disturb, with what it is told for that."""
    with DRIVERS[driver].start([protocol], options=OPTIONS.get(driver)) as broker:
        yield broker, next(target for target in broker.targets if target.protocol == protocol)


def disruptions(driver: str, protocol: str) -> list[str]:
    """Return what is done to this broker; one in memory is not killed."""
    names = [name for name in DISRUPTIONS if driver != "embedded" or name not in NEEDS_STORAGE]
    if protocol == "mqtt" and driver != "embedded":
        names += [f"{how} restart, {step}" for how in ("soft", "hard") for step in STEPS]
    return names


def disturb(broker: LocalBroker, target: Target, name: str) -> Outcome:
    """Do one thing to a broker and return what came of it."""
    outcome = Outcome(target.driver or broker.driver, target.protocol, name)
    began = time.monotonic()
    try:
        if name in DISRUPTIONS:
            _under_load(broker, target, outcome)
        else:
            _in_handshake(broker, target, outcome)
    except (Blocked, BrokerFailed) as error:
        outcome.error = str(error).partition("\n")[0]
        outcome.is_broker_lost = isinstance(error, BrokerFailed)
    outcome.seconds = time.monotonic() - began
    return outcome


def _in_handshake(broker: LocalBroker, target: Target, outcome: Outcome) -> None:
    how, _, step = outcome.disruption.partition(" restart, ")
    pair = interrupted(target, step, restarting(broker, "hard" if how == "hard" else "soft"))
    outcome.problems, outcome.numbers = pair.history.problems(), _numbers([pair.history])
    outcome.numbers["sessions_lost"] = pair.sessions_lost
    pair.close()


def _under_load(broker: LocalBroker, target: Target, outcome: Outcome) -> None:
    with Saboteur(target, Scenario(())) as saboteur:
        make = _amqp if target.protocol == "amqp" else _mqtt
        publishers, consumers, clean = make(target, saboteur.target, outcome.disruption)
        histories = [each.history for each in publishers]
        scene = Scene(broker, saboteur, histories, consumers)
        try:
            _start(consumers, publishers)
            _await_confirmed(histories, BEFORE, "before the disruption")
            DISRUPTIONS[outcome.disruption](scene)
            _await_confirmed(histories, AFTER, "after the disruption", beyond=True)
            _stop(publishers)
            for _ in range(2):  # silence may be the broker's standing still: only what a second fence overtakes is lost
                _fence(publishers, consumers)
                _drain(histories)
                if not any(history.missing for history in histories):
                    break
            wait_for(lambda: False, 0.3)  # what comes back, comes now
        finally:
            _stop([*publishers, *consumers])
        outcome.problems = [problem for history in histories for problem in history.problems()]
        outcome.numbers = _numbers(histories)
        outcome.numbers["sessions_lost"] = sum(getattr(each, "sessions_lost", 0) for each in consumers)
        if not any(history.is_queue_gone for history in histories):
            clean()


def _amqp(target: Target, through: Target, disruption: str) -> tuple[list[Worker], list[Worker], Callable[[], None]]:
    queue = f"mqproof-crash-{disruption}-{time.monotonic_ns()}"
    limits: dict[str, Any] = {"x-max-length": QUEUE_LIMIT, "x-overflow": "reject-publish"}
    amqp_load.declare(target, queue, **(limits if disruption == "fill" else {}))
    history = History()
    publisher = amqp_load.AmqpPublisher(through, queue, history)
    consumer = amqp_load.AmqpConsumer(through, queue, history)
    return [publisher], [consumer], lambda: amqp_load.remove(target, queue)


def _mqtt(target: Target, through: Target, disruption: str) -> tuple[list[Worker], list[Worker], Callable[[], None]]:
    version = Version.V5_0 if "mqtt-5.0" in target.capabilities or target.driver != "rabbitmq" else Version.V3_1_1
    publishers: list[Worker] = []
    consumers: list[Worker] = []
    for qos in (1, 2) if target.driver != "rabbitmq" else (1,):
        topic = f"mqproof/crash/{disruption}/{time.monotonic_ns()}/{qos}"
        history = History("exactly once" if qos == 2 else "at least once")
        publishers.append(mqtt_load.MqttPublisher(through, version, topic, qos, history))
        consumers.append(mqtt_load.MqttSubscriber(through, version, topic, qos, history))

    def clean() -> None:
        for worker in (*publishers, *consumers):
            assert isinstance(worker, mqtt_load.MqttPublisher | mqtt_load.MqttSubscriber)
            mqtt_load.remove_session(target, version, worker.client_id)

    return publishers, consumers, clean


def _await_confirmed(histories: list[History], count: int, when: str, *, beyond: bool = False) -> None:
    """Return when each publisher has so many messages confirmed (more than now). Raises Blocked."""

    def confirmed(history: History) -> int:
        return sum(sent.confirmed is not None for sent in list(history.sent.values()))

    goals = [(history, count + (confirmed(history) if beyond else 0)) for history in histories]
    if not wait_for(lambda: all(confirmed(history) >= goal for history, goal in goals), RECOVERY):
        raise Blocked(f"fewer than {count} messages were confirmed within {RECOVERY:.0f} s {when}")


def _start(consumers: list[Worker], publishers: list[Worker]) -> None:
    """Start publishing when everybody listens. Raises Blocked."""
    for worker in consumers:
        worker.start()
    if not all(worker.ready.wait(RECOVERY) for worker in consumers):
        raise Blocked("the consumers cannot connect")
    for worker in publishers:
        worker.start()


def _fence(publishers: list[Worker], consumers: list[Worker]) -> None:
    """Publish on until something of it arrives: what went before has come by then, or was lost.

    Where nothing arrives because a consumer has not come back, nothing is known, and it raises Blocked; but for a queue
    that is gone: that is the broker's doing, and the history says so.
    """
    last = [(each.history, max(each.history.sent, default=-1)) for each in publishers]
    for each in publishers:
        try:
            each.resume(FENCES[type(each)])
        except (Lost, OSError):
            raise Blocked("the publisher cannot go on after the disruption") from None

    def passed(history: History, number: int) -> bool:
        return any(delivery.number > number for delivery in list(history.deliveries))

    arrived = wait_for(lambda: all(passed(*each) for each in last), RECOVERY)
    if arrived or all(consumer.serving.is_set() for consumer in consumers):
        return
    if all(consumer.has_source() for consumer in consumers):
        reasons = {consumer.away for consumer in consumers if not consumer.serving.is_set() and consumer.away}
        why = "; ".join(sorted(reasons))
        raise Blocked(f"a consumer has not come back within {RECOVERY:.0f} s{f': {why}' if why else ''}")
    for each in publishers:
        each.history.is_queue_gone = True


def _drain(histories: list[History]) -> None:
    """Return when nothing is missing, or nothing has come for a while."""
    silence, before = Awake(), -1

    def is_over() -> bool:
        nonlocal before
        came = sum(len(history.deliveries) for history in histories)
        if came != before:
            before = came
            silence.begin()
        return silence.seconds() > DRAIN or not any(history.missing for history in histories)

    wait_for(is_over, RECOVERY)


def _stop(workers: list[Worker]) -> None:
    for worker in workers:
        worker.stop()


def _numbers(histories: list[History]) -> dict[str, int]:
    total: dict[str, int] = {}
    for history in histories:
        for name, value in history.numbers().items():
            total[name] = total.get(name, 0) + value
    return total
