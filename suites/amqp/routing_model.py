"""Section 3.1.3 of AMQP 0-9-1 as a few lines of Python: which queues a message reaches. No broker's code in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Binding:
    """From a source exchange to a queue or an exchange; equal ones are one binding."""

    source: str
    destination: str
    key: str = ""
    arguments: tuple[tuple[str, Any], ...] = ()


@dataclass(slots=True)
class Model:
    """Exchanges with their types and alternates, queues with their contents, bindings."""

    exchanges: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    queues: dict[str, list[bytes]] = field(default_factory=dict)
    bindings: set[Binding] = field(default_factory=set)

    def publish(self, exchange: str, key: str, headers: Mapping[str, Any], body: bytes) -> None:
        """Add the message to every queue that it reaches, once."""
        for queue in self.reached(exchange, key, headers):
            self.queues[queue].append(body)

    def reached(self, exchange: str, key: str, headers: Mapping[str, Any]) -> set[str]:
        """Return the queues that a message reaches; exchanges pass it on, cycles end (exchange.bind/cyclical)."""
        found: set[str] = set()
        seen: set[str] = set()
        waiting = [exchange]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            targets = self._matched(name, key, headers)
            found |= targets & self.queues.keys()
            waiting += targets & self.exchanges.keys()
            alternate = self.exchanges[name][1] if name in self.exchanges else None
            if not targets and alternate in self.exchanges:
                waiting.append(alternate)
        return found

    def forget(self, name: str) -> None:
        """Delete a queue or an exchange with its bindings."""
        self.exchanges.pop(name, None)
        self.queues.pop(name, None)
        self.bindings = {binding for binding in self.bindings if name not in (binding.source, binding.destination)}

    def _matched(self, exchange: str, key: str, headers: Mapping[str, Any]) -> set[str]:
        if not exchange:  # the default exchange: 3.1.3.1
            return {key} & self.queues.keys()
        type_ = self.exchanges[exchange][0]
        own = (binding for binding in self.bindings if binding.source == exchange)
        return {binding.destination for binding in own if matches(type_, binding, key, headers)}


def matches(type_: str, binding: Binding, key: str, headers: Mapping[str, Any]) -> bool:
    """Return whether a binding of an exchange of this type selects a message."""
    if type_ == "direct":  # 3.1.3.1
        return binding.key == key
    if type_ == "fanout":  # 3.1.3.2
        return True
    if type_ == "topic":  # 3.1.3.3
        return topic(words(binding.key), words(key))
    arguments = dict(binding.arguments)  # 3.1.3.4
    wanted = {name: value for name, value in arguments.items() if not name.startswith("x-")}
    results = [name in headers and (value is None or _same(headers[name], value)) for name, value in wanted.items()]
    return any(results) if arguments.get("x-match") == "any" else all(results)


def topic(pattern: list[str], key: list[str]) -> bool:
    """Return whether a pattern's words select a key's words: ``*`` is one word, ``#`` any number of them."""
    if not pattern:
        return not key
    if pattern[0] == "#":
        return topic(pattern[1:], key) or (bool(key) and topic(pattern, key[1:]))
    return bool(key) and pattern[0] in ("*", key[0]) and topic(pattern[1:], key[1:])


def words(text: str) -> list[str]:
    """Return the words of a key; an empty key has none."""
    return text.split(".") if text else []


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right
