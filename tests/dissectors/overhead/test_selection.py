"""Which messages a topic filter or a binding pattern asks for."""

import itertools

import pytest
from mqproof.dissectors.overhead.selection import BadSelection, Selection, topic


@pytest.mark.parametrize(
    ("protocol", "pattern", "name", "fits"),
    [
        ("mqtt", "a/#", "a", True),
        ("mqtt", "a/#", "a/b/c", True),
        ("mqtt", "a/+", "a", False),
        ("mqtt", "+/b", "a/b", True),
        ("mqtt", "a.*", "a/b", False),
        ("amqp", "a.#.c", "x / a.c", True),
        ("amqp", "a.#.c", "x / a.b.b.c", True),
        ("amqp", "a.#.c", "x / a.b.b", False),
        ("amqp", "#.b.#", "x / a.b.c", True),
        ("amqp", "*", "x / a.b", False),
        ("amqp", "#", "x / ", True),
    ],
)
def test_filter_asks_for_messages(protocol: str, pattern: str, name: str, fits: bool) -> None:
    assert Selection(topics=(pattern,)).message(protocol, name) is fits


def slowly(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(slowly(pattern[1:], words[count:]) for count in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and slowly(pattern[1:], words[1:])


def test_every_short_pattern_fits_what_its_meaning_says() -> None:
    keys = [list(each) for size in (1, 2, 3) for each in itertools.product("ab", repeat=size)]
    for size in (1, 2, 3, 4):
        for pattern in itertools.product("#*a", repeat=size):
            asked = Selection(topics=(".".join(pattern),))
            for key in keys:
                assert asked.message("amqp", f" / {'.'.join(key)}") is slowly(list(pattern), key), (pattern, key)


def test_many_wildcards_take_no_longer_than_words_times_places() -> None:
    """Tried one after the other, these would not come to an end."""
    asked = Selection(topics=(".".join(["#", "a"] * 100 + ["b"]),))
    assert not asked.message("amqp", f" / {'.'.join(['a'] * 1000)}")


def test_a_filter_that_neither_protocol_has_is_refused() -> None:
    with pytest.raises(BadSelection, match="has to be the last"):
        topic("a/#/b")
    assert [topic(legal) for legal in ("a/#", "#", "a.#.b", "a/b.#.c")]
