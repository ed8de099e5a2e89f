"""AMQP 0-9-1 sections 3.1.4 and 3.1.5: what outlives a restart of the broker, in good order or by a crash.

One broker of our own is prepared, restarted and looked at, once for each way; the tests judge what was found.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Unsupported
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_verbs import Things

pytestmark = [pytest.mark.destructive, pytest.mark.slow, pytest.mark.needs("durable_storage")]
WAYS = pytest.mark.parametrize("how", ["soft", "hard"])


@dataclass(slots=True)
class Found:
    """What was there before and after a restart; bodies are lists in order."""

    exists: dict[str, bool] = field(default_factory=dict)
    before: dict[str, list[bytes]] = field(default_factory=dict)
    after: dict[str, list[bytes]] = field(default_factory=dict)
    redelivered: list[bool] = field(default_factory=list)


@pytest.fixture(scope="module")
def restarts(own_brokers: Callable[[Target], tuple[LocalBroker, Target]]) -> Callable[[Target, str], Found]:
    """``restarts(target, how)``: what was found after a restart, done at the first call."""
    done: dict[tuple[str | None, str], Found] = {}

    def restart(target: Target, how: str) -> Found:
        key = target.driver, how
        if key not in done:
            broker, own = own_brokers(target)
            done[key] = restarted(broker, own, how)
        return done[key]

    return restart


def restarted(broker: LocalBroker, target: Target, how: str) -> Found:
    """Prepare the broker, restart it, and look."""
    things = Things(lambda kind: f"mqproof-{how}-{kind}")
    found = Found()
    wire = AmqpWire(target, things).open()
    prepare(wire, found, how)
    broker.restart("hard" if how == "hard" else "soft")
    wire = AmqpWire(target, things).open()
    look(wire, found, how)
    wire.close_connection()
    return found


def prepare(wire: AmqpWire, found: Found, how: str) -> None:
    """Make durable and temporary things, and messages that were confirmed, committed, or delivered and not acked."""
    for name in ("confirmed", "committed", "unacked"):
        wire.queue(name=f"{how}-{name}", shared=True)
        found.before[name] = []
    with suppress(Blocked):  # newer brokers refuse it; the channel closes then
        wire.open_channel(9)
        wire.send("queue.declare", channel=9, queue=f"{how}-temporary")
        wire.expect("queue.declare-ok")
        found.exists["temporary made"] = True
    wire.exchange("direct", name=f"{how}-durable", durable=True)
    wire.exchange("direct", name=f"{how}-transient")
    for exchange in ("durable", "transient"):
        wire.bind(f"{how}-confirmed", f"{how}-{exchange}", "key")
    for _ in range(20):
        found.before["confirmed"].append(wire.publish("", f"{how}-confirmed", delivery_mode=2))
        found.before["unacked"].append(wire.publish("", f"{how}-unacked", delivery_mode=2))
    wire.open_channel(2)
    wire.call("tx.select", channel=2)
    for _ in range(5):
        body = wire.send_content("", f"{how}-committed", channel=2, properties={"delivery_mode": 2})
        found.before["committed"].append(body)
    wire.call("tx.commit", channel=2)
    wire.consume(f"{how}-unacked")
    wire.take(20)


def look(wire: AmqpWire, found: Found, how: str) -> None:
    """Note what exists, which messages are there, and whether the binding routes."""
    for name in ("confirmed", "committed", "unacked", "temporary"):
        found.exists[name] = wire.exists(f"{how}-{name}")
    for name in ("confirmed", "committed", "unacked"):
        messages = wire.drained(f"{how}-{name}", exchange="") if found.exists[name] else []
        found.after[name] = [message.body for message in messages]
        if name == "unacked":
            found.redelivered = [message.redelivered for message in messages]
    for name in ("durable", "transient"):
        wire.open_channel(8)
        wire.send("exchange.declare", channel=8, exchange=f"{how}-{name}", passive=True)
        answer = wire.expect("exchange.declare-ok", "channel.close", channel=8)
        found.exists[f"{name} exchange"] = answer.name == "exchange.declare-ok"
        wire.send("channel.close" if found.exists[f"{name} exchange"] else "channel.close-ok", channel=8)
        if found.exists[f"{name} exchange"]:
            wire.expect("channel.close-ok", channel=8)
    if found.exists["confirmed"] and found.exists["durable exchange"]:
        found.before["bound"] = [wire.publish(f"{how}-durable", "key")]
        found.after["bound"] = wire.drain(f"{how}-confirmed", exchange="")


@WAYS
@pytest.mark.normative("amqp-0-9-1:queue.declare.durable/persistence", "amqp-0-9-1:3.1.4/durable")
def test_queue_survives_restart_when_durable(target, restarts, how):
    found = restarts(target, how)
    assert (found.exists["confirmed"], found.exists["committed"]) == (True, True)


@WAYS
@pytest.mark.normative("amqp-0-9-1:3.1.4/temporary")
def test_queue_is_gone_after_restart_when_temporary(target, restarts, how):
    found = restarts(target, how)
    if not found.exists.get("temporary made"):
        raise Unsupported("the broker refuses temporary queues that anybody can use")
    assert not found.exists["temporary"]


@WAYS
@pytest.mark.normative("amqp-0-9-1:exchange.declare.durable/support")
def test_exchange_survives_restart_when_durable_and_is_purged_when_transient(target, restarts, how):
    """Field durable of exchange.declare: durable exchanges remain, transient ones are purged by a restart."""
    found = restarts(target, how)
    assert (found.exists["durable exchange"], found.exists["transient exchange"]) == (True, False)


@WAYS
@pytest.mark.normative("amqp-0-9-1:queue.bind/durable-exchange")
def test_binding_survives_restart_between_durable_queue_and_exchange(target, restarts, how):
    found = restarts(target, how)
    assert found.exists["durable exchange"]
    assert found.after.get("bound") == found.before.get("bound", ["bound"])


@WAYS
@pytest.mark.normative("amqp-0-9-1:3.1.4/persistent-survives", "amqp-0-9-1:basic/01")
def test_confirmed_persistent_messages_survive_restart_in_order(target, restarts, how):
    found = restarts(target, how)
    assert found.after["confirmed"] == found.before["confirmed"]


@WAYS
@pytest.mark.normative("amqp-0-9-1:3.1.4/persistent-survives", "amqp-0-9-1:basic/01")
def test_committed_persistent_messages_survive_restart(target, restarts, how):
    found = restarts(target, how)
    assert found.after["committed"] == found.before["committed"]


@WAYS
@pytest.mark.normative("amqp-0-9-1:3.1.4/persistent-survives")
def test_unacknowledged_persistent_messages_survive_restart(target, restarts, how):
    found = restarts(target, how)
    assert sorted(found.after["unacked"]) == sorted(found.before["unacked"])
