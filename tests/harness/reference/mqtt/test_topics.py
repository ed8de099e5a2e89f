"""Sections 4.7 and 4.8.2: the tree against a plain matcher, and both against the section's own examples."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqproof.harness.reference.mqtt.topics import FilterTree, matches, split_shared, valid_filter, valid_topic

LEVEL = st.sampled_from(["", "a", "b", "A", "$x", "é", "é", " "])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, rest: "/".join(levels + rest),
    st.lists(LEVEL | st.just("+"), max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)


def model(text: str, topic: str) -> bool:
    """Section 4.7 as a regular expression: a third way to say it."""
    if topic[0] == "$" and text[0] in "+#":
        return False
    if text == "#":
        return True
    parent = text.removesuffix("/#")
    pattern = "/".join("[^/]*" if level == "+" else re.escape(level) for level in parent.split("/"))
    return re.fullmatch(pattern + ("(/.*)?" if parent != text else ""), topic, re.DOTALL) is not None


EXAMPLES = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "any/thing", True),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("#", "$SYS/", False),
    ("+/monitor/Clients", "$SYS/monitor/Clients", False),
    ("$SYS/#", "$SYS/", True),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
    ("ACCOUNTS", "Accounts", False),
    ("/finance", "finance", False),
]


@pytest.mark.parametrize(("text", "topic", "selected"), EXAMPLES)
def test_examples_of_the_section(text, topic, selected):
    tree = FilterTree()
    tree.put(text, "key", 1)
    assert matches(text, topic) is selected
    assert tree.match(topic) == ([("key", 1)] if selected else [])
    assert model(text, topic) is selected


@given(st.lists(st.tuples(FILTER, st.sampled_from("xyz")), max_size=8), st.lists(TOPIC, min_size=1, max_size=4))
@settings(max_examples=400, deadline=None)
def test_tree_selects_what_the_section_says(filters, topics):
    tree = FilterTree()
    for text, key in filters:
        tree.put(text, key, text)
    for topic in topics:
        expected = sorted((key, text) for text, key in set(filters) if model(text, topic))
        assert sorted(tree.match(topic)) == expected
        assert all(matches(text, topic) == model(text, topic) for text, _ in filters)


@given(st.lists(st.tuples(st.booleans(), FILTER, st.sampled_from("xy")), max_size=20), TOPIC)
@settings(max_examples=200, deadline=None)
def test_tree_forgets_exactly_what_was_removed(steps, topic):
    tree, left = FilterTree(), {}
    for put, text, key in steps:
        if put:
            tree.put(text, key, text)
            left[text, key] = text
        else:
            tree.remove(text, key)
            left.pop((text, key), None)
    assert sorted(tree.match(topic)) == sorted((key, text) for text, key in left if model(text, topic))
    assert all(tree.get(text, key) == text for text, key in left)
    for text, key in left:
        tree.remove(text, key)
    assert not tree, "empty branches stay behind"


@pytest.mark.parametrize("text", ["", "a#", "a/#/b", "#/a", "a+", "+a/b", "a/b+", "##", "++", "a/\0"])
def test_invalid_filters(text):
    assert not valid_filter(text)


@pytest.mark.parametrize("text", ["#", "+", "/", "//", "a//b", "+/+", "/+/#", " ", "$SYS/#", "$share", "\ufeff"])
def test_valid_filters(text):
    assert valid_filter(text)


@pytest.mark.parametrize(("topic", "valid"), [("", 0), ("a+", 0), ("#", 0), ("a/\0", 0), ("/", 1), ("$a", 1), (" ", 1)])
def test_topic_names(topic, valid):
    assert valid_topic(topic) is bool(valid)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("$share/group/a/+", ("group", "a/+")),
        ("$share/group//a", ("group", "/a")),
        ("$share/group/", None),
        ("$share/group", None),
        ("$share//a", None),
        ("$share/g+/a", None),
        ("$share/#/a", None),
        ("$share/g/a#", None),
    ],
)
def test_shared_filters(text, parts):
    assert split_shared(text) == parts
