"""AMQP 0-9-1 section 3.1.3, all at once: random topologies and messages, compared with a model in plain Python.

A difference is shrunk to the smallest topology that shows it, and told as a test that can be run.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine
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
from mqproof.harness.patience import patience
from mqproof.harness.verdicts import Deviation
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.suites.amqp.routing_model import Binding, Model

EXAMPLES = 80
STEPS = 12
SHRINKING = 10.0  # seconds for making a topology smaller that differs

TYPES = ("direct", "fanout", "topic", "headers")
ROUTING = {  # exchange type, "" for the default exchange -> what the text says of it
    "": ("amqp-0-9-1:3.1.3.1/default-exchange",),
    "direct": ("amqp-0-9-1:3.1.3.1/match",),
    "fanout": ("amqp-0-9-1:3.1.3.2/match",),
    "topic": ("amqp-0-9-1:3.1.3.3/words",),
    "headers": ("amqp-0-9-1:3.1.3.4/all", "amqp-0-9-1:3.1.3.4/any"),
}
ONE_COPY = "amqp-0-9-1:3.1.5/multiple-bindings-one-copy"
PATTERN = st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=4).map(".".join)
NAME = st.sampled_from(["h", "i"])
VALUE = st.sampled_from([1, 2, "1"])
HEADERS = st.dictionaries(NAME, VALUE, max_size=2)
ARGUMENTS = st.builds(
    lambda match, wanted: {"x-match": match, **wanted},
    st.sampled_from(["all", "any"]),
    st.dictionaries(NAME, VALUE | st.none(), min_size=1, max_size=2),
)


class Topologies(RuleBasedStateMachine):
    """Does everything twice: on the broker and on the model."""

    exchanges = Bundle("exchanges")
    queues = Bundle("queues")

    def __init__(self, wire: AmqpWire) -> None:
        super().__init__()
        self.wire = wire
        self.model = Model()
        self.story: list[str] = []
        self.names: dict[str, str] = {"": '""'}
        self.published = 0

    @initialize(target=exchanges)
    def begin(self) -> Any:
        """Begin with one exchange of each type."""
        return multiple(*(self._declare(type_, None) for type_ in TYPES))

    @initialize(target=queues)
    def begin_queues(self) -> Any:
        """Begin with two queues."""
        return multiple(self._declare_queue(), self._declare_queue())

    @rule(target=exchanges, type_=st.sampled_from(["direct", "topic"]), other=exchanges)
    def exchange_with_alternate(self, type_: str, other: str) -> str:
        """Declare an exchange with an alternate; it is never bound to other exchanges, where texts differ."""
        if "alternate_exchange" not in self.wire.target.capabilities:
            return self._declare(type_, None)
        return self._declare(type_, other)

    def _declare(self, type_: str, alternate: str | None) -> str:
        options: dict[str, Any] = {"arguments": {"alternate-exchange": alternate}} if alternate else {}
        name = self.wire.exchange(type_, **options)
        self.model.exchanges[name] = type_, alternate
        self.names[name] = f"exchange{len(self.names)}"
        shown = f', arguments={{"alternate-exchange": {self.names[alternate]}}}' if alternate else ""
        self.story.append(f'{self.names[name]} = wire.exchange("{type_}"{shown})')
        return name

    @rule(target=queues)
    def queue(self) -> str:
        """Declare a queue."""
        return self._declare_queue()

    def _declare_queue(self) -> str:
        name = self.wire.queue()
        self.model.queues[name] = []
        self.names[name] = f"queue{len(self.names)}"
        self.story.append(f"{self.names[name]} = wire.queue()")
        return name

    @precondition(lambda self: self.model.exchanges)
    @rule(queue=queues, data=st.data())
    def bind_everywhere(self, queue: str, data: st.DataObject) -> None:
        """Bind a queue to some exchanges, and publish what each binding may just match or just miss."""
        for exchange in data.draw(st.lists(st.sampled_from(list(self.model.exchanges)), min_size=1, max_size=5)):
            binding = self._bind(exchange, queue, data.draw(PATTERN), data.draw(ARGUMENTS))
            for _ in range(2):
                self._publish_near(data, binding)

    def _bind(self, exchange: str, queue: str, key: str, arguments: dict[str, Any]) -> Binding:
        if self.model.exchanges[exchange][0] != "headers":
            arguments = {}
        self.wire.bind(queue, exchange, key, arguments)
        binding = Binding(exchange, queue, key, tuple(sorted(arguments.items())))
        self.model.bindings.add(binding)
        self.story.append(f"wire.bind({self.names[queue]}, {self.names[exchange]}, {key!r}, {arguments})")
        return binding

    @rule(source=exchanges, destination=exchanges, key=PATTERN)
    def link(self, source: str, destination: str, key: str) -> None:
        """Bind an exchange to an exchange."""
        type_, alternate = self.model.exchanges[source]
        is_offered = "exchange_exchange_bindings" in self.wire.target.capabilities
        if type_ == "headers" or alternate or not is_offered:
            return
        self.wire.link(source, destination, key)
        self.model.bindings.add(Binding(source, destination, key))
        self.story.append(f"wire.link({self.names[source]}, {self.names[destination]}, {key!r})")

    @precondition(lambda self: self.model.bindings)
    @rule(data=st.data())
    def unbind(self, data: st.DataObject) -> None:
        """Remove one of the bindings."""
        binding = data.draw(st.sampled_from(sorted(self.model.bindings, key=repr)))
        verb = "unbind" if binding.destination in self.model.queues else "unlink"
        pair = [binding.destination, binding.source][:: 1 if verb == "unbind" else -1]
        arguments = dict(binding.arguments)
        getattr(self.wire, verb)(*pair, binding.key, arguments)
        self.model.bindings.discard(binding)
        shown = ", ".join(self.names[name] for name in pair)
        self.story.append(f"wire.{verb}({shown}, {binding.key!r}, {arguments})")
        self._publish_near(data, binding)

    @precondition(lambda self: len(self.model.exchanges) > 3)
    @rule(exchange=consumes(exchanges))
    def delete_exchange(self, exchange: str) -> None:
        """Delete an exchange."""
        self.wire.call("exchange.delete", exchange=exchange)
        self.model.forget(exchange)
        self.story.append(f'wire.call("exchange.delete", exchange={self.names[exchange]})')

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
        self._publish(binding.source, key + data.draw(st.sampled_from(["", "", "a"])), headers)

    @rule(queue=queues)
    def publish_to_queue(self, queue: str) -> None:
        """Publish to a queue by its name."""
        self._publish("", queue, {}, self.names[queue])

    def _publish(self, exchange: str, key: str, headers: dict[str, Any], shown: str = "") -> None:
        if exchange and exchange not in self.model.exchanges:
            return
        body = self.wire.publish(exchange, key, headers=headers)
        self.model.publish(exchange, key, headers, body)
        self.story.append(f"body = wire.publish({self.names[exchange]}, {shown or repr(key)}, headers={headers})")
        for queue, expected in self.model.queues.items():
            got = [message.body for message in iter(lambda queue=queue: self.wire.get(queue), None)]  # type: ignore[misc]
            if got != expected:
                story = self.told(queue, expected)
                actual = f"{len(got)} copies, by this test:\n{story}"
                broken = (ONE_COPY,) if set(got) == set(expected) else self.ways(exchange)
                raise Deviation(f"{len(expected)} copies", actual, broken)
            expected.clear()

    def ways(self, exchange: str) -> tuple[str, ...]:
        """Return the statements on the types of all exchanges that a message to this one may pass."""
        types = [self.model.exchanges[name][0] for name in self.model.behind(exchange)] if exchange else [""]
        return tuple(dict.fromkeys(statement for type_ in types for statement in ROUTING[type_]))

    def told(self, queue: str, expected: list[bytes]) -> str:
        """Return the story as a test."""
        check = f"assert wire.drain({self.names[queue]}) == {'[body]' if expected else '[]'}"
        return "\n    ".join(["def test_found_by_the_model(wire):", *self.story, check])

    def teardown(self) -> None:
        """Remove what this example made."""
        for queue in self.model.queues:
            self.wire.call("queue.delete", queue=queue)
        for exchange in self.model.exchanges:
            self.wire.call("exchange.delete", exchange=exchange)
            self.wire.things.exchanges.remove(exchange)


@pytest.mark.normative(*(statement for statements in ROUTING.values() for statement in statements), ONE_COPY)
def test_random_topologies_route_as_the_text_says(wires, request, monkeypatch):
    """The examples are the same in every run; ``--examples`` of mqproof says how many."""
    monkeypatch.setattr(engine, "MAX_SHRINKING_SECONDS", patience.seconds(SHRINKING))
    examples = request.config.getoption("mqproof_examples", default=None) or EXAMPLES
    wire = wires()
    rules = settings(
        max_examples=examples, stateful_step_count=STEPS, derandomize=True, database=None, deadline=None,
        print_blob=False, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(lambda: Topologies(wire), settings=rules)  # type: ignore[arg-type]
