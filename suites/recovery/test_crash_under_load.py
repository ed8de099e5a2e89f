"""Crashes, pauses, cuts, partitions and full queues under load: AMQP 0-9-1 section 3.1.4, MQTT sections 4.3, 4.4, 4.6.

A broker of our own is disturbed while publishers and consumers work; the ledger's promises are judged afterwards.
"""

from collections.abc import Iterator

import pytest
from mqproof.harness.crash.disruptions import DISRUPTIONS
from mqproof.harness.crash.handshakes import STEPS
from mqproof.harness.crash.rounds import Outcome, crash_broker, disruptions, disturb
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Unsupported, Untested, check

pytestmark = [pytest.mark.destructive, pytest.mark.slow]
DURABLE = "amqp-0-9-1:3.1.4/durable"
KEPT = ("amqp-0-9-1:3.1.4/persistent-survives", "amqp-0-9-1:basic/01")
EVERY = pytest.mark.parametrize("disruption", list(DISRUPTIONS))


@pytest.fixture(scope="module")
def crashing() -> Iterator["Crashing"]:
    """A broker of each kind to disturb, started at first use."""
    crashing = Crashing()
    yield crashing
    crashing.end()


class Crashing:
    """Keeps the brokers that tests disturb."""

    def __init__(self) -> None:
        self._brokers: dict[tuple[str, str], tuple[LocalBroker, Target]] = {}
        self._contexts: list[Iterator[tuple[LocalBroker, Target]]] = []

    def __call__(self, target: Target, disruption: str) -> Outcome:
        """Disturb a broker of the target's kind. Raises Untested, and Blocked."""
        if target.driver is None:
            raise Untested("disturbs its broker: needs one that mqproof can start itself")
        if target.driver == "embedded":
            raise Untested("kept in memory: mqproof crash embedded-amqp embedded-mqtt disturbs these brokers")
        if disruption not in disruptions(target.driver, target.protocol):
            raise Untested(f"{target.driver} is not meant to outlive this ({disruption})")
        key = target.driver, target.protocol
        if key not in self._brokers:
            self._contexts.append(crash_broker(*key))  # type: ignore[arg-type]
            self._brokers[key] = self._contexts[-1].__enter__()  # type: ignore[attr-defined]
        outcome = disturb(*self._brokers[key], disruption)
        if outcome.error:
            raise Blocked(outcome.error)
        return outcome

    def end(self) -> None:
        """End all brokers."""
        for context in self._contexts:
            context.__exit__(None, None, None)  # type: ignore[attr-defined]


def judge(outcome: Outcome, *statements: str) -> None:
    """Accuse the broker of what the ledger shows, unless the text allows it; of these statements, or all."""
    if outcome.allowed:
        raise Unsupported(outcome.allowed)
    told = "; ".join(map(str, outcome.problems))
    check(not outcome.problems, expected="every promise kept", actual=told, statement=statements or None)


@EVERY
@pytest.mark.normative(*KEPT, DURABLE)
def test_confirmed_persistent_messages_outlive_a_disruption_under_load(target, crashing, disruption):
    """They may be lost one by one, or with their queue: then it is the queue that was to last."""
    outcome = crashing(target, disruption)
    gone = [problem for problem in outcome.problems if problem.kind == "queue-lost"]
    check(not gone, expected="the durable queue there again", actual="; ".join(map(str, gone)), statement=DURABLE)
    judge(outcome, *KEPT)


@EVERY
@pytest.mark.normative("mqtt-5.0:MQTT-4.5.0-1")
def test_sessions_outlive_a_disruption_under_load(target, crashing, disruption):
    judge(crashing(target, disruption))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.normative("mqtt-3.1.1:MQTT-4.4.0-1")
def test_handshake_of_qos_2_outlives_a_restart_at_each_of_its_steps(target, crashing, step):
    judge(crashing(target, f"soft restart, {step}"))
