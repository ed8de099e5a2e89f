"""The four exchange types against independent models of section 3.1.3."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mqproof.dissectors.amqp.codec import Field
from mqproof.harness.reference.amqp.exchange import Exchange
from mqproof.harness.reference.amqp.message import Message, header_payload
from mqproof.harness.reference.amqp.queue import Queue
from mqproof.harness.reference.amqp.routing import Binding, headers_match, topic_matches, words
from mqproof.harness.reference.amqp.topology import VirtualHost

WORDS = st.sampled_from(["a", "b", "", "ab"])
KEYS = st.lists(WORDS, max_size=5).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "", "ab", "*", "#"]), max_size=5).map(".".join)


def by_regex(pattern: str, key: str) -> bool:
    """The topic rule as a regular expression over words that each end in a full stop."""
    units = {"*": r"[^.]*\.", "#": r"(?:[^.]*\.)*"}
    expression = "".join(units.get(word, re.escape(word) + r"\.") for word in pattern.split(".")) if pattern else ""
    return re.fullmatch(expression, "".join(f"{word}." for word in key.split(".")) if key else "") is not None


@given(PATTERNS, KEYS)
@example("a.#.b.#.*", "a.b.b")
@example("#.#", "")
@example("*", "")
def test_topics_match_like_regular_expressions(pattern, key):
    assert topic_matches(words(pattern), words(key)) == by_regex(pattern, key)


@pytest.mark.parametrize(
    ("pattern", "key", "reaches"),
    [
        ("*.stock.#", "usd.stock", True),
        ("*.stock.#", "eur.stock.db", True),
        ("*.stock.#", "stock.nasdaq", False),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("a.*", "a", False),
        ("a.*", "a.", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.#", "a", True),
        ("#.a", "b.a.a", True),
        ("*.*", "..", False),
        ("a..b", "a..b", True),
        ("A", "a", False),
    ],
)
def test_topic_patterns(pattern, key, reaches):
    assert topic_matches(words(pattern), words(key)) == reaches


def test_many_hashes_take_no_time():
    assert not topic_matches(words(".".join(["#", "a"] * 40)), words(".".join(["a"] * 120) + ".b"))


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "headers", "reaches"),
    [
        ({}, {}, True),
        ({}, {"a": 1}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "all", "a": 1, "b": "2"}, {"a": 1, "b": "2", "c": 3}, True),
        ({"a": 1, "b": "2"}, {"a": 1}, False),
        ({"x-match": "any", "a": 1, "b": "2"}, {"b": "2"}, True),
        ({"x-match": "any", "a": 1, "b": "2"}, {"a": "1", "b": 2}, False),
        ({"a": None}, {"a": "whatever"}, True),
        ({"a": None}, {"b": 1}, False),
        ({"a": 1}, {"a": None}, False),
        ({"x-match": "all", "x-a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "any", "x-a": 1}, {"x-a": 1}, False),
        ({"x-match": "all-with-x", "x-a": 1, "b": 2}, {"b": 2}, False),
        ({"x-match": "any-with-x", "x-a": 1, "b": 2}, {"x-a": 1}, True),
        ({"a": 1}, {"a": Field("b", 1)}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": Decimal(1)}, False),
        ({"a": "x"}, {"a": Field("x", b"x")}, False),
        ({"a": NOW}, {"a": NOW}, True),
        ({"a": [1, "b"]}, {"a": [Field("l", 1), "b"]}, True),
    ],
)
def test_headers_arguments(arguments, headers, reaches):
    assert headers_match(arguments, headers) == reaches


class Still:
    """A clock without time."""

    def time(self) -> float:
        return 0.0

    def call_later(self, delay: float, callback: Any, *args: Any) -> Any:
        raise AssertionError("nothing here takes time")


def a_message(key: str, headers: dict[str, Any]) -> Message:
    properties = {"headers": headers}
    return Message("", key, properties, b"", header_payload(properties, 0))


NAMES = st.sampled_from(["e0", "e1", "e2", "e3"])
HEADERS = st.dictionaries(st.sampled_from(["h", "i", "x-j"]), st.sampled_from([1, 2, "v", None]), max_size=3)
ARGUMENTS = st.builds(
    lambda kind, rest: {**rest, **({"x-match": kind} if kind else {})},
    st.sampled_from(["", "all", "any", "all-with-x", "any-with-x"]),
    HEADERS,
)
EXCHANGES = st.fixed_dictionaries(
    {
        name: st.tuples(st.sampled_from(["direct", "fanout", "topic", "headers"]), st.none() | NAMES)
        for name in ["e0", "e1", "e2", "e3"]
    }
)
BINDINGS = st.lists(st.tuples(NAMES, NAMES | st.sampled_from(["q0", "q1", "q2"]), PATTERNS, ARGUMENTS), max_size=12)


def reached(
    kinds: dict[str, tuple[str, str | None]], bindings: list[Any], start: str, key: str, headers: dict[str, Any]
) -> set[str]:
    """The model: follow every binding that matches from every exchange that was reached, until nothing is new."""
    seen: set[str] = {start}
    while True:
        found = {hit for name in seen if name in kinds for hit in step(kinds, bindings, name, key, headers)}
        if found <= seen:
            return {name for name in seen if name.startswith("q")}
        seen |= found


def step(
    kinds: dict[str, tuple[str, str | None]], bindings: list[Any], name: str, key: str, headers: dict[str, Any]
) -> Iterator[str]:
    type_, alternate = kinds[name]
    hits = [
        end
        for source, end, pattern, arguments in bindings
        if source == name and model(type_, pattern, arguments, key, headers)
    ]
    yield from hits or ([alternate] if alternate else [])


def model(type_: str, pattern: str, arguments: dict[str, Any], key: str, headers: dict[str, Any]) -> bool:
    if type_ == "direct":
        return pattern == key
    if type_ == "topic":
        return by_regex(pattern, key)
    if type_ == "fanout":
        return True
    kind = arguments.get("x-match", "all")
    asked = {n: v for n, v in arguments.items() if n != "x-match" and (kind.endswith("x") or n[:2] != "x-")}
    hits = [n in headers and (v is None or headers[n] == v) for n, v in asked.items()]
    return any(hits) if kind.startswith("any") else False not in hits


@given(EXCHANGES, BINDINGS, st.data())
def test_any_topology_routes_like_the_model(kinds, bindings, data):
    host = VirtualHost("/", Still(), frozenset().__contains__)
    for name, (type_, alternate) in kinds.items():
        host.declare_exchange(name, type_, arguments={"alternate-exchange": alternate} if alternate else {})
    for name in ("q0", "q1", "q2"):
        host.declare_queue(name, None)
    ends: dict[str, Queue | Exchange] = {**host.exchanges, **host.queues}
    for source, end, pattern, arguments in bindings:
        host.bind(host.exchange(source), ends[end], pattern, arguments)
    removed = data.draw(st.lists(st.sampled_from(bindings), max_size=4)) if bindings else []
    kept = [binding for binding in bindings if binding not in removed]
    for source, end, pattern, arguments in removed:
        identity = Binding(None, ends[end], pattern, arguments).identity
        if identity in host.exchange(source).bindings:
            host.unbind(host.exchange(source), ends[end], pattern, arguments)
    start, key, headers = data.draw(NAMES), data.draw(KEYS), data.draw(HEADERS)
    queues = host.router.route(host.exchange(start), a_message(key, headers), [key])
    names = [queue.name for queue in queues]
    assert sorted(names) == sorted(reached(kinds, kept, start, key, headers))


@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove"]), PATTERNS, st.integers(0, 2)), max_size=20),
    st.lists(KEYS, max_size=3),
)
@pytest.mark.parametrize("type_", ["direct", "fanout", "topic", "headers"])
def test_bindings_that_come_and_go_leave_no_trace(type_, changes, keys):
    """What an exchange answers depends on the bindings that are there, not on those that were."""
    used = Exchange("e", type_)
    present: dict[Any, Binding] = {}
    for what, pattern, end in changes:
        binding = Binding(None, end, pattern, {})
        list(used.match(keys, a_message("", {})))
        if what == "add":
            used.bind(binding)
            present.setdefault(binding.identity, binding)
        else:
            assert (used.unbind(binding.identity) is None) == (present.pop(binding.identity, None) is None)
    fresh = Exchange("e", type_)
    for binding in present.values():
        fresh.bind(binding)
    assert sorted(used.match(keys, a_message("", {}))) == sorted(fresh.match(keys, a_message("", {})))
