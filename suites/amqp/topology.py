"""Topologies as lists of steps: done on a broker and on the model at once, made smaller, told as a test.

Steps name exchanges and queues by labels; each replay declares them anew.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from mqproof.dissectors.amqp.codec import method
from mqproof.harness.patience import patience
from mqproof.harness.verdicts import Blocked
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_message import Message
from mqproof.suites.amqp.routing_model import Binding, Model

SHRINKING = 10.0  # seconds for making a topology smaller that differs
_BINDING_VERBS = ("bind", "link", "unbind", "unlink")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done: ``verb``, the exchange or queue that it is about, and what else the verb needs.

    ``exchange`` (``key``: its type, ``other``: its alternate), ``queue``, ``bind`` and ``unbind`` (``name``: queue,
    ``other``: exchange), ``link`` and ``unlink`` (``name``: source, ``other``: destination), ``delete``, ``publish``.
    """

    verb: str
    name: str
    other: str = ""
    key: str = ""
    table: tuple[tuple[str, Any], ...] = ()

    @property
    def binding(self) -> Binding:
        """The binding that a step of binding or unbinding is about."""
        source, destination = (self.other, self.name) if self.verb in ("bind", "unbind") else (self.name, self.other)
        return Binding(source, destination, self.key, self.table)

    @property
    def names(self) -> set[str]:
        """Everything that must be there before the step."""
        if self.verb in ("exchange", "queue"):
            return {self.other} - {""}
        if self.verb == "publish":
            return {self.name or self.key}
        return {self.name, self.other} - {""}


@dataclass(frozen=True, slots=True)
class Difference:
    """A queue whose content is not that of the model: how many copies were due, and how many came."""

    queue: str
    expected: int
    got: int


@dataclass(slots=True)
class Replay:
    """Does steps on the broker and on the model."""

    wire: AmqpWire
    model: Model = field(default_factory=Model)
    done: list[Step] = field(default_factory=list)
    _real: dict[str, str] = field(default_factory=lambda: {"": ""})  # label -> name on the broker

    def can(self, step: Step) -> bool:
        """Whether the step makes sense here: what it names exists."""
        there = self.model.exchanges.keys() | self.model.queues.keys()
        return step.names <= there and (not step.verb.startswith("un") or step.binding in self.model.bindings)

    def do(self, step: Step) -> Difference | None:
        """Take a step; after a publish, return the first queue that differs from the model."""
        self.done.append(step)
        if step.verb == "publish":
            return self._publish(step)
        if step.verb in _BINDING_VERBS:
            getattr(self.wire, step.verb)(self._real[step.name], self._real[step.other], step.key, dict(step.table))
            change = self.model.bindings.discard if step.verb.startswith("un") else self.model.bindings.add
            change(step.binding)
        elif step.verb == "exchange":
            arguments = {"alternate-exchange": self._real[step.other]} if step.other else {}
            self._real[step.name] = self.wire.exchange(step.key, arguments=arguments)
            self.model.exchanges[step.name] = step.key, step.other or None
        elif step.verb == "queue":
            self._real[step.name] = self.wire.queue()
            self.model.queues[step.name] = []
        else:
            self._delete(step.name)
        return None

    def _publish(self, step: Step) -> Difference | None:
        headers = dict(step.table)
        key = step.key if step.name else self._real[step.key]
        body = self.wire.publish(self._real[step.name], key, headers=headers)
        self.model.publish(step.name, step.key, headers, body)
        differences = []
        asked = self._ask()
        for label, expected in self.model.queues.items():
            got = self._answers(label, asked[label])
            if got != expected:
                differences.append(Difference(label, len(expected), len(got)))
            expected.clear()
        return differences[0] if differences else None

    def _ask(self) -> dict[str, int]:
        """Ask every queue for all that it must have and for one message more, in one go; return how often each."""
        asked = {label: len(expected) + 1 for label, expected in self.model.queues.items()}
        self.wire.send(
            *(
                method("basic.get", 1, queue=self._real[label], no_ack=True)
                for label, times in asked.items()
                for _ in range(times)
            )
        )
        return asked

    def _answers(self, label: str, times: int) -> list[bytes]:
        """Return the bodies that the queue gave, and all that it has besides."""
        events = [self.wire.expect("basic.get-ok", "basic.get-empty", channel=1) for _ in range(times)]
        bodies = [event.body for event in events if isinstance(event, Message)]
        if len(bodies) == times:
            while (message := self.wire.get(self._real[label])) is not None:
                bodies.append(message.body)
        return bodies

    def _delete(self, label: str) -> None:
        name = self._real[label]
        if label in self.model.queues:
            self.wire.call("queue.delete", queue=name)
        else:
            self.wire.call("exchange.delete", exchange=name)
            self.wire.things.exchanges.remove(name)
        self.model.forget(label)

    def clear(self) -> None:
        """Remove what is left."""
        for label in (*self.model.queues, *self.model.exchanges):
            self._delete(label)


def replayed(wire: AmqpWire, steps: Iterable[Step]) -> tuple[list[Step], Difference | None]:
    """Take those steps that make sense, up to the first difference; return what was done, and the difference."""
    replay = Replay(wire)
    found = None
    for step in steps:
        if replay.can(step):
            found = replay.do(step)
        if found is not None:
            break
    done = list(replay.done)
    replay.clear()
    return done, found


def shrunk(wire: AmqpWire, steps: list[Step], difference: Difference) -> tuple[list[Step], Difference]:
    """Return a small list of steps that still differs, and how: no step of it can be left out, if time allows."""
    until = time.monotonic() + patience.seconds(SHRINKING)
    try:
        while time.monotonic() < until:
            for candidate in smaller(steps):
                done, found = replayed(wire, candidate)
                if found is not None and weight(done) < weight(steps):
                    steps, difference = done, found
                    break
                if time.monotonic() > until:
                    break
            else:
                break
    except Blocked:
        pass  # the broker ended the conversation; what was found before stands
    return steps, difference


def smaller(steps: list[Step]) -> Iterator[list[Step]]:
    """Yield the steps with runs of them left out, long runs first, then with simpler keys and tables."""
    length = len(steps) // 2
    while length:
        for start in range(0, len(steps), length):
            yield steps[:start] + steps[start + length :]
        length //= 2
    for number, step in enumerate(steps):
        for simpler in simplified(step):
            yield [*steps[:number], simpler, *steps[number + 1 :]]


def simplified(step: Step) -> Iterator[Step]:
    """Yield the step without its alternate, with one entry or one word less."""
    if step.verb == "exchange":
        if step.other:
            yield replace(step, other="")
        return
    pairs = len(step.table) - any(name == "x-match" for name, _ in step.table)
    for name, _ in step.table:
        if name != "x-match" and (pairs > 1 or step.verb != "bind"):  # what no pair at all matches is not said
            yield replace(step, table=tuple(entry for entry in step.table if entry[0] != name))
    if step.name:  # to the default exchange, the key is a queue
        words = step.key.split(".") if step.key else []
        for number in range(len(words)):
            yield replace(step, key=".".join(words[:number] + words[number + 1 :]))


def weight(steps: list[Step]) -> tuple[int, int]:
    """Return what shrinking makes smaller: steps, then words and entries."""
    details = sum(len(step.table) + len(step.key.split(".")) + bool(step.key) + bool(step.other) for step in steps)
    return len(steps), details


def told(steps: list[Step], difference: Difference) -> str:
    """Return the steps as a test that can be run with the fixtures of the suite."""
    lines = [_line(step) for step in steps]
    lines[-1] = f"body = {lines[-1]}"
    lines.append(f"assert wire.drain({difference.queue}) == {['[]', '[body]'][difference.expected]}")
    return "\n    ".join(["def test_found_by_the_model(wire):", *lines])


def _line(step: Step) -> str:
    table = dict(step.table)
    if step.verb == "exchange":
        alternate = f', arguments={{"alternate-exchange": {step.other}}}' if step.other else ""
        return f'{step.name} = wire.exchange("{step.key}"{alternate})'
    if step.verb == "queue":
        return f"{step.name} = wire.queue()"
    if step.verb == "delete":
        return f'wire.call("exchange.delete", exchange={step.name})'
    if step.verb == "publish":
        key = repr(step.key) if step.name else step.key
        return f'wire.publish({step.name or repr("")}, {key}{f", headers={table}" if table else ""})'
    rest = f", {step.key!r}, {table}" if table else f", {step.key!r}" if step.key else ""
    return f"wire.{step.verb}({step.name}, {step.other}{rest})"


def statement_of(steps: list[Step], difference: Difference) -> str:
    """Return the statement that a smallest topology speaks of: the feature that it could not be without."""
    verbs = {step.verb for step in steps}
    types = {step.key for step in steps if step.verb == "exchange"}
    modes = {dict(step.table).get("x-match") for step in steps if step.verb == "bind" and step.table}
    if difference.got > 1:
        return "3.1.5/multiple-bindings-one-copy"
    if "unlink" in verbs:
        return "exchange-to-exchange/03"
    if "link" in verbs:
        return "exchange-to-exchange/01"
    if any(step.verb == "exchange" and step.other for step in steps):
        return "alternate-exchange/01"
    if "unbind" in verbs:
        return "4.6/synchronous-effects"
    if "headers" in types:
        return "3.1.3.4/any" if modes == {"any"} else "3.1.3.4/all"
    if "topic" in types:
        return "3.1.3.3/words"
    if "fanout" in types:
        return "3.1.3.2/match"
    return "3.1.3.1/match" if "direct" in types else "3.1.3.1/default-exchange"
