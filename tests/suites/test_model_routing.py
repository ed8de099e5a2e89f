"""The random topologies of the AMQP suite find a faulty broker, and tell the smallest one as a test that can be run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from mqproof.harness.reference.amqp.server import start_in_thread
from mqproof.harness.targets.identify import identify
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Deviation
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_verbs import Things
from mqproof.suites.amqp.test_model_routing import explore
from mqproof.suites.amqp.topology import Difference, Step, simplified, told, weight

OPTIONS = SimpleNamespace(mqproof_examples=40, mqproof_seed=1)


@contextmanager
def broker(*defects: str) -> Iterator[AmqpWire]:
    handle = start_in_thread(defects=defects)
    try:
        target = identify(Target("t", "amqp", "127.0.0.1", handle.port, user="guest", password="guest"))
        numbers = iter(range(sys.maxsize))
        yield AmqpWire(target, Things(lambda kind: f"{kind}{next(numbers)}")).open()
    finally:
        handle.stop()


def run_told(text: str, wire: AmqpWire) -> None:
    """Run a test as it was told."""
    space: dict[str, object] = {}
    exec(text, space)
    space["test_found_by_the_model"](wire)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("defect", "statement", "lines"),
    [
        ("copies-per-binding", "3.1.5/multiple-bindings-one-copy", 7),
        ("unbind-ignored", "4.6/synchronous-effects", 7),
        ("e2e-ignored", "exchange-to-exchange/01", 8),
        ("alternate-ignored", "alternate-exchange/01", 7),
    ],
)
def test_defect_is_found_made_small_and_told_as_a_test(defect, statement, lines):
    with broker(defect) as wire, pytest.raises(Deviation) as found:
        explore(wire, OPTIONS, extended=True)
    assert found.value.statements == (f"amqp-0-9-1:{statement}",)
    story = found.value.actual.partition("\n")[2]
    assert story.count("\n") < lines
    with broker(defect) as wire, pytest.raises(AssertionError):
        run_told(story, wire)
    with broker() as wire:
        run_told(story, wire)


def test_shrinking_leaves_a_binding_by_headers_something_to_match():
    """The text does not say what no pair at all matches."""
    two = Step("bind", "queue1", "exchange1", "", (("h", 1), ("i", 2), ("x-match", "all")))
    (first, second) = simplified(two)
    assert [first.table, second.table] == [(("i", 2), ("x-match", "all")), (("h", 1), ("x-match", "all"))]
    assert list(simplified(first)) == []


def test_a_sound_broker_is_not_accused():
    with broker() as wire:
        explore(wire, OPTIONS, extended=True)


def test_a_topology_is_told_with_its_headers_and_alternates():
    steps = [
        Step("queue", "queue1"),
        Step("exchange", "exchange2", "", "headers"),
        Step("exchange", "exchange3", "exchange2", "topic"),
        Step("bind", "queue1", "exchange2", "", (("h", 1), ("x-match", "all"))),
        Step("publish", "exchange3", key="a", table=(("h", 1),)),
    ]
    assert told(steps, Difference("queue1", 1, 0)) == (
        "def test_found_by_the_model(wire):\n"
        "    queue1 = wire.queue()\n"
        '    exchange2 = wire.exchange("headers")\n'
        '    exchange3 = wire.exchange("topic", arguments={"alternate-exchange": exchange2})\n'
        "    wire.bind(queue1, exchange2, '', {'h': 1, 'x-match': 'all'})\n"
        "    body = wire.publish(exchange3, 'a', headers={'h': 1})\n"
        "    assert wire.drain(queue1) == [body]"
    )
    assert weight(steps[:2]) < weight(steps)
