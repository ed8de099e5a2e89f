"""AMQP 0-9-1 section 3.1.3, all at once: random topologies and messages, compared with a model in plain Python.

A difference is shrunk to the smallest topology that shows it, and told as a test that can be run.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mqproof.harness.plugin.state import options
from mqproof.harness.verdicts import Deviation
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.suites.amqp.routing_model import Binding
from mqproof.suites.amqp.topology import Replay, Step, shrunk, statement_of, told

EXAMPLES = 40  # each of up to STEPS steps, one of which may bind and publish many times
STEPS = 12
STATEMENTS = (
    "amqp-0-9-1:3.1.3.1/match",
    "amqp-0-9-1:3.1.3.1/default-exchange",
    "amqp-0-9-1:3.1.3.2/match",
    "amqp-0-9-1:3.1.3.3/words",
    "amqp-0-9-1:3.1.3.4/all",
    "amqp-0-9-1:3.1.3.4/any",
    "amqp-0-9-1:3.1.5/multiple-bindings-one-copy",
    "amqp-0-9-1:4.6/synchronous-effects",
)

TYPES = ("direct", "fanout", "topic", "headers")
PATTERN = st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=4).map(".".join)
ONCE_IN_FOUR = st.sampled_from([False, False, False, True])
NAME = st.sampled_from(["h", "i"])
VALUE = st.sampled_from([1, 2, "1"])
HEADERS = st.dictionaries(NAME, VALUE, max_size=2)
ARGUMENTS = st.builds(
    lambda match, wanted: {"x-match": match, **wanted},
    st.sampled_from(["all", "any"]),
    st.dictionaries(NAME, VALUE | st.none(), min_size=1, max_size=2),
)


class Topologies(RuleBasedStateMachine):
    """Makes up steps; a replay does them on the broker and on the model."""

    exchanges = Bundle("exchanges")
    queues = Bundle("queues")

    def __init__(self, wire: AmqpWire, seed: int, *, extended: bool) -> None:
        super().__init__()
        self.wire = wire
        self.seed = seed
        self.extended = extended  # exchanges that are bound to exchanges, and alternates
        self.replay = Replay(wire)
        self.model = self.replay.model
        self.number = 0

    @initialize(target=exchanges)
    def begin(self) -> Any:
        """Begin with one exchange of each type."""
        return multiple(*(self._declare("exchange", type_) for type_ in TYPES))

    @initialize(target=queues)
    def begin_queues(self) -> Any:
        """Begin with two queues."""
        return multiple(self._declare("queue"), self._declare("queue"))

    @precondition(lambda self: self.extended)
    @rule(target=exchanges, type_=st.sampled_from(["direct", "topic"]), other=exchanges, data=st.data())
    def exchange_with_alternate(self, type_: str, other: str, data: st.DataObject) -> str:
        """Declare an exchange with an alternate; it is never bound to other exchanges, where texts differ."""
        label = self._declare("exchange", type_, other)
        self._publish_through(data, label, other)
        return label

    @rule(target=queues)
    def queue(self) -> str:
        """Declare a queue."""
        return self._declare("queue")

    def _declare(self, kind: str, type_: str = "", alternate: str = "") -> str:
        self.number += 1
        label = f"{kind}{self.number}"
        self.replay.do(Step(kind, label, alternate, type_))
        return label

    @precondition(lambda self: self.model.exchanges)
    @rule(queue=queues, data=st.data())
    def bind_everywhere(self, queue: str, data: st.DataObject) -> None:
        """Bind a queue to some exchanges, and publish what each binding may just match or just miss."""
        for exchange in data.draw(st.lists(st.sampled_from(list(self.model.exchanges)), min_size=1, max_size=5)):
            arguments = data.draw(ARGUMENTS) if self.model.exchanges[exchange][0] == "headers" else {}
            step = Step("bind", queue, exchange, data.draw(PATTERN), tuple(sorted(arguments.items())))
            self.replay.do(step)
            for _ in range(2):
                self._publish_near(data, step.binding)
            if self.extended and data.draw(st.booleans()):
                self._link(data, data.draw(st.sampled_from(list(self.model.exchanges))), exchange)
            if data.draw(ONCE_IN_FOUR) and step.binding in self.model.bindings:
                self._unbind(data, step.binding)

    @precondition(lambda self: self.extended)
    @rule(source=exchanges, destination=exchanges, data=st.data())
    def link(self, source: str, destination: str, data: st.DataObject) -> None:
        """Bind an exchange to an exchange."""
        self._link(data, source, destination)

    def _link(self, data: st.DataObject, source: str, destination: str) -> None:
        """Link by the key of a binding further on, if there is one."""
        type_, alternate = self.model.exchanges[source]
        if type_ == "headers" or alternate:
            return
        further = sorted(binding.key for binding in self.model.bindings if binding.source == destination)
        self.replay.do(Step("link", source, destination, data.draw(st.sampled_from(further) if further else PATTERN)))
        self._publish_through(data, source, destination)

    def _publish_through(self, data: st.DataObject, source: str, further: str) -> None:
        """Publish to an exchange what a binding of another, which it passes messages on to, may just match."""
        for binding in sorted(self.model.bindings, key=repr):
            if binding.source == further:
                self._publish_near(data, replace(binding, source=source))
                return

    @precondition(lambda self: self.model.bindings)
    @rule(data=st.data())
    def unbind(self, data: st.DataObject) -> None:
        """Remove one of the bindings."""
        self._unbind(data, data.draw(st.sampled_from(sorted(self.model.bindings, key=repr))))

    def _unbind(self, data: st.DataObject, binding: Binding) -> None:
        verb = "unbind" if binding.destination in self.model.queues else "unlink"
        ends = (binding.destination, binding.source) if verb == "unbind" else (binding.source, binding.destination)
        self.replay.do(Step(verb, *ends, binding.key, binding.arguments))
        self._publish_near(data, binding)

    @precondition(lambda self: len(self.model.exchanges) > 3)
    @rule(exchange=consumes(exchanges))
    def delete_exchange(self, exchange: str) -> None:
        """Delete an exchange."""
        self.replay.do(Step("delete", exchange))

    @precondition(lambda self: self.model.bindings)
    @rule(data=st.data())
    def publish_near(self, data: st.DataObject) -> None:
        """Publish what one of the bindings may just match or just miss."""
        self._publish_near(data, data.draw(st.sampled_from(sorted(self.model.bindings, key=repr))))

    def _publish_near(self, data: st.DataObject, binding: Binding) -> None:
        fill = {"*": st.sampled_from(["a", "b", "b.c", None]), "#": st.sampled_from([None, "a", "a.b"])}
        drawn = [data.draw(fill[word]) if word in fill else word for word in binding.key.split(".")]
        key = ".".join(word for word in drawn if word is not None)
        headers = {name: value for name, value in binding.arguments if name != "x-match" and value is not None}
        headers |= data.draw(HEADERS)
        for name in data.draw(st.sets(NAME, max_size=1)):
            headers.pop(name, None)
        key += data.draw(st.sampled_from(["", "", "a"]))
        self._publish(Step("publish", binding.source, key=key, table=tuple(sorted(headers.items()))))

    @rule(queue=queues)
    def publish_to_queue(self, queue: str) -> None:
        """Publish to a queue by its name."""
        self._publish(Step("publish", "", key=queue))

    def _publish(self, step: Step) -> None:
        difference = self.replay.do(step)
        if difference is None:
            return
        steps, smallest = shrunk(self.wire, self.replay.done, difference)
        story = f"{smallest.got} (seed {self.seed}), by this test:\n{told(steps, smallest)}"
        raise Deviation(f"{smallest.expected} copies", story, f"amqp-0-9-1:{statement_of(steps, smallest)}")

    def teardown(self) -> None:
        """Remove what this example made."""
        self.replay.clear()


@pytest.mark.normative(*STATEMENTS)
def test_random_topologies_route_as_the_text_says(wires, request):
    """The same seed makes the same examples; ``mqproof test --examples N --seed S`` makes others."""
    explore(wires(), options(request.config), extended=False)


@pytest.mark.needs("exchange_exchange_bindings", "alternate_exchange")
@pytest.mark.normative(
    *STATEMENTS,
    "amqp-0-9-1:exchange-to-exchange/01",
    "amqp-0-9-1:exchange-to-exchange/03",
    "amqp-0-9-1:alternate-exchange/01",
)
def test_random_topologies_of_linked_exchanges_route_as_the_text_says(wires, request):
    explore(wires(), options(request.config), extended=True)


def explore(wire: AmqpWire, option: Any, *, extended: bool) -> None:
    """Try random topologies; the first that differs from the model is accused. ``option``: pytest's options."""
    rules = settings(
        max_examples=option.mqproof_examples or EXAMPLES, stateful_step_count=STEPS, database=None, deadline=None,
        print_blob=False, phases=[Phase.generate], suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    machine: Any = seed(option.mqproof_seed)(lambda: Topologies(wire, option.mqproof_seed, extended=extended))
    run_state_machine_as_test(machine, settings=rules)
