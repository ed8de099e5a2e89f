"""How each exchange type selects destinations (section 3.1.3): pure functions of binding and message.

A matcher holds the bindings of one exchange and answers which destinations a message goes to. Destinations are any
hashable objects; the same one may be answered several times, and the caller keeps one (rule queue.bind/unique).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol

from mqproof.dissectors.amqp.codec import plain
from mqproof.dissectors.amqp.fields import write_table
from mqproof.harness.reference.amqp.errors import Refusal

Defective = Callable[[str], bool]
MATCH_ARGUMENT: Final = "x-match"
_CACHE_SIZE: Final = 4096


def faultless(name: str) -> bool:
    """Answer ``defective(name)`` for a broker without defects."""
    return False


@dataclass(frozen=True, eq=False, slots=True)
class Binding:
    """What binds ``destination`` (a queue or an exchange) to ``source`` (an exchange)."""

    source: Any
    destination: Any
    routing_key: str
    arguments: Mapping[str, Any]

    @property
    def identity(self) -> tuple[Any, str, bytes]:
        """Two bindings of one exchange are the same when destination, key and arguments are (queue.bind/duplicates)."""
        return self.destination, self.routing_key, write_table(dict(sorted(self.arguments.items())))


class Matcher(Protocol):
    """The bindings of one exchange."""

    def add(self, binding: Binding) -> None:
        """Take a binding that was not there."""

    def remove(self, binding: Binding) -> None:
        """Forget a binding that was added."""

    def match(self, routing_key: str, headers: Mapping[str, Any]) -> Iterable[Any]:
        """Return the destinations of a message."""


class DirectMatcher:
    """Section 3.1.3.1: the binding key equals the routing key."""

    def __init__(self, defective: Defective = faultless) -> None:
        self._by_key: dict[str, dict[Binding, None]] = {}
        self._defective = defective

    def add(self, binding: Binding) -> None:
        """Take a binding."""
        self._by_key.setdefault(binding.routing_key, {})[binding] = None

    def remove(self, binding: Binding) -> None:
        """Forget a binding."""
        del self._by_key[binding.routing_key][binding]
        if not self._by_key[binding.routing_key]:
            del self._by_key[binding.routing_key]

    def match(self, routing_key: str, headers: Mapping[str, Any]) -> Iterable[Any]:
        """Return the destinations bound by exactly this key."""
        if self._defective("direct-all") or self._defective("direct-prefix"):
            whole = self._defective("direct-all")
            return [b.destination for k, bs in self._by_key.items() if whole or routing_key.startswith(k) for b in bs]
        return [binding.destination for binding in self._by_key.get(routing_key, ())]


class _AllBindings:
    """Keeps bindings in the order in which they came, under no key: every message looks at all of them."""

    def __init__(self, defective: Defective = faultless) -> None:
        self._bindings: dict[Binding, None] = {}
        self._defective = defective

    def add(self, binding: Binding) -> None:
        """Take a binding."""
        self._bindings[binding] = None

    def remove(self, binding: Binding) -> None:
        """Forget a binding."""
        del self._bindings[binding]


class FanoutMatcher(_AllBindings):
    """Section 3.1.3.2: every bound destination, whatever the routing key."""

    def match(self, routing_key: str, headers: Mapping[str, Any]) -> Iterable[Any]:
        """Return all destinations."""
        bindings = list(self._bindings)
        if self._defective("fanout-first-only"):
            bindings = bindings[:1]
        if self._defective("fanout-by-key"):
            bindings = [binding for binding in bindings if binding.routing_key == routing_key]
        return [binding.destination for binding in bindings]


def words(key: str) -> list[str]:
    """Return the words of a routing key or pattern (section 3.1.3.3); the empty key has none, ``a..b`` has three."""
    return key.split(".") if key else []


def topic_matches(pattern: list[str], key: list[str], defective: Defective = faultless) -> bool:
    """Tell whether the words of a pattern select the words of a key: ``*`` is exactly one word, ``#`` zero or more.

    Walks all alternatives at once, so that no pattern takes more than len(pattern) * len(key) steps.
    """
    if defective("topic-case-blind"):
        pattern, key = [word.lower() for word in pattern], [word.lower() for word in key]
    skippable = _skippable(defective)
    positions = _skip(pattern, {0}, skippable)
    for word in key:
        step = set()
        for position in positions:
            if position == len(pattern):
                continue
            wanted = pattern[position]
            if _is_hash(wanted, defective):
                step |= {position, position + 1}
            elif wanted == "*":
                step.add(position + 1)
                if defective("topic-star-many"):
                    step.add(position)
            elif wanted == word:
                step.add(position + 1)
        positions = _skip(pattern, step, skippable)
    return len(pattern) in positions


def _is_hash(word: str, defective: Defective) -> bool:
    return word == "#" and not defective("topic-hash-literal")


def _skippable(defective: Defective) -> frozenset[str]:
    """Return the pattern words that may stand for no word at all."""
    skippable = set() if defective("topic-hash-one") or defective("topic-hash-literal") else {"#"}
    if defective("topic-star-any"):
        skippable.add("*")
    return frozenset(skippable)


def _skip(pattern: list[str], positions: set[int], skippable: frozenset[str]) -> set[int]:
    reached = set(positions)
    for position in positions:
        while position < len(pattern) and pattern[position] in skippable:
            position += 1
            reached.add(position)
    return reached


class TopicMatcher:
    """Section 3.1.3.3: patterns of words. Answers are remembered until a binding comes or goes."""

    def __init__(self, defective: Defective = faultless) -> None:
        self._bindings: dict[Binding, list[str]] = {}
        self._known: dict[str, list[Any]] = {}
        self._defective = defective

    def add(self, binding: Binding) -> None:
        """Take a binding."""
        self._bindings[binding] = words(binding.routing_key)
        self._known.clear()

    def remove(self, binding: Binding) -> None:
        """Forget a binding."""
        del self._bindings[binding]
        self._known.clear()

    def match(self, routing_key: str, headers: Mapping[str, Any]) -> Iterable[Any]:
        """Return the destinations whose pattern selects the key."""
        known = self._known.get(routing_key)
        if known is not None:
            return known
        key = words(routing_key)
        found = [b.destination for b, pattern in self._bindings.items() if topic_matches(pattern, key, self._defective)]
        if len(self._known) >= _CACHE_SIZE:
            self._known.clear()
        self._known[routing_key] = found
        return found


MATCH_KINDS: Final = ("all", "any", "all-with-x", "any-with-x")


def check_headers_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse what x-match may not be with 406 (statement headers-x-match/01); absent means ``all``."""
    kind = arguments.get(MATCH_ARGUMENT, "all")
    if kind not in MATCH_KINDS:
        raise Refusal(406, f"x-match is one of {', '.join(MATCH_KINDS)}, not {plain(kind)!r}")


def headers_match(arguments: Mapping[str, Any], headers: Mapping[str, Any], defective: Defective = faultless) -> bool:
    """Tell whether a binding's arguments select a message's headers (section 3.1.3.4).

    Arguments that begin with ``x-`` take no part unless x-match ends in ``-with-x`` (statement headers-x-match/01).
    With no argument that takes part, ``all`` holds for every message and ``any`` for none.
    """
    kind = str(arguments.get(MATCH_ARGUMENT, "all"))
    with_x = kind.endswith("-with-x") or defective("headers-x-counts")
    wanted = [
        (name, value)
        for name, value in arguments.items()
        if name != MATCH_ARGUMENT and (with_x or not name.startswith("x-"))
    ]
    results = (name in headers and _value_matches(value, headers[name], defective) for name, value in wanted)
    is_any = kind.startswith("any")
    if (is_any and defective("headers-any-as-all")) or (not is_any and defective("headers-all-as-any")):
        is_any = not is_any
    return any(results) if is_any else all(results)


def _value_matches(wanted: Any, present: Any, defective: Defective) -> bool:
    """Compare a binding's value with a header's: a void asks for presence only (headers-x-match/02).

    The text does not say whether integers of different width are the same value. They are here; a boolean, a number, a
    decimal and a timestamp are never the same.
    """
    if wanted is None and not defective("headers-void-exact"):
        return True
    wanted, present = plain(wanted), plain(present)
    return _kind(wanted) == _kind(present) and bool(wanted == present)


def _kind(value: Any) -> type:
    for kind in (bool, Decimal, datetime, str, bytes, dict, list):
        if isinstance(value, kind):
            return kind
    return float if isinstance(value, int | float) else type(value)


class HeadersMatcher(_AllBindings):
    """Section 3.1.3.4: the binding's arguments against the message's headers; the routing key plays no part."""

    def match(self, routing_key: str, headers: Mapping[str, Any]) -> Iterable[Any]:
        """Return the destinations whose arguments select the headers."""
        by_key = self._defective("headers-by-key")
        return [
            binding.destination
            for binding in self._bindings
            if headers_match(binding.arguments, headers, self._defective)
            and not (by_key and binding.routing_key != routing_key)
        ]


MATCHERS: Final[dict[str, Callable[[Defective], Matcher]]] = {
    "direct": DirectMatcher,
    "fanout": FanoutMatcher,
    "topic": TopicMatcher,
    "headers": HeadersMatcher,
}
