"""Topic names, topic filters and how they match: MQTT 3.1.1 section 4.7, MQTT 5.0 sections 4.7 and 4.8.2.

Matching is exact, code point by code point, with no normalisation (MQTT-4.7.3-4). A topic level may be empty.

Choices the text leaves open: none of the wildcards is ever a character of a topic name, so a name that holds one is
refused by whoever publishes it, not here; ``$share`` without a following slash is an ordinary filter.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Defective = Callable[[str], bool]
Value = TypeVar("Value")

SHARE_PREFIX = "$share/"


def sound(_name: str) -> bool:
    """The defects of a broker that has none."""
    return False


def valid_topic(topic: str) -> bool:
    """Whether this may be published to: MQTT-3.3.2-2, MQTT-4.7.3-1, MQTT-4.7.3-2 (a zero-length name is not valid)."""
    return bool(topic) and not any(character in topic for character in "+#\0")


def valid_filter(text: str) -> bool:
    """Whether the wildcards stand where they may: MQTT-4.7.1-2/-3 (3.1.1), MQTT-4.7.1-1/-2 (5.0)."""
    if not text or "\0" in text:
        return False
    levels = text.split("/")
    if any(len(level) > 1 and ("+" in level or "#" in level) for level in levels):
        return False
    return "#" not in levels[:-1]


def is_shared(text: str) -> bool:
    """Whether a 5.0 filter asks for a shared subscription: section 4.8.2."""
    return text.startswith(SHARE_PREFIX)


def split_shared(text: str) -> tuple[str, str] | None:
    """Return (ShareName, filter), or None where MQTT-4.8.2-1/-2 is broken."""
    name, slash, rest = text.removeprefix(SHARE_PREFIX).partition("/")
    if not name or not slash or "+" in name or "#" in name or not valid_filter(rest):
        return None
    return name, rest


def matches(text: str, topic: str, defective: Defective = sound) -> bool:
    """Whether a topic filter selects a topic name: sections 4.7.1 and 4.7.2."""
    if defective("topics-case-insensitive"):
        text, topic = text.lower(), topic.lower()
    if topic.startswith("$") and text[0] in "+#" and not defective("dollar-matched-by-wildcard"):
        return False  # MQTT-4.7.2-1
    pattern, levels = text.split("/"), topic.split("/")
    for position, want in enumerate(pattern):
        if want == "#":
            return position < len(levels) or not defective("hash-without-parent")
        if position >= len(levels) or want not in ("+", levels[position]):
            return False
        if want == "+" and not levels[position] and defective("plus-needs-text"):
            return False
    return len(pattern) == len(levels)


@dataclass(slots=True)
class _Node(Generic[Value]):
    children: "dict[str, _Node[Value]]" = field(default_factory=dict)
    entries: dict[str, Value] = field(default_factory=dict)


class FilterTree(Generic[Value]):
    """Topic filters as a tree of levels; each filter holds values by key (a client identifier, a ShareName)."""

    def __init__(self, defective: Defective = sound) -> None:
        self._root: _Node[Value] = _Node()
        self._defective = defective

    def _levels(self, text: str) -> list[str]:
        return (text.lower() if self._defective("topics-case-insensitive") else text).split("/")

    def get(self, text: str, key: str) -> Value | None:
        """Return what this very filter holds under the key."""
        node: _Node[Value] | None = self._root
        for level in self._levels(text):
            node = node.children.get(level) if node else None
        return node.entries.get(key) if node else None

    def put(self, text: str, key: str, value: Value) -> None:
        """Set the value of a filter and key, replacing an older one (MQTT-3.8.4-3)."""
        node = self._root
        for level in self._levels(text):
            node = node.children.setdefault(level, _Node())
        node.entries[key] = value

    def remove(self, text: str, key: str) -> None:
        """Forget the key at exactly this filter (MQTT-3.10.4-1) and the branches that it leaves empty."""
        path = [self._root]
        levels = self._levels(text)
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return
            path.append(child)
        path[-1].entries.pop(key, None)
        for parent, level, child in zip(reversed(path[:-1]), reversed(levels), reversed(path[1:]), strict=True):
            if child.entries or child.children:
                return
            del parent.children[level]

    def match(self, topic: str) -> list[tuple[str, Value]]:
        """Return (key, value) of every filter that selects the topic; one key comes once per filter."""
        levels = self._levels(topic)
        wild_first = not topic.startswith("$") or self._defective("dollar-matched-by-wildcard")
        found: list[tuple[str, Value]] = []
        stack = [(self._root, 0)]
        while stack:
            node, depth = stack.pop()
            wild = node.children if depth or wild_first else {}
            at_end = depth == len(levels)
            if (rest := wild.get("#")) and not (at_end and self._defective("hash-without-parent")):
                found.extend(rest.entries.items())
            if at_end:
                found.extend(node.entries.items())
                continue
            if exact := node.children.get(levels[depth]):
                stack.append((exact, depth + 1))
            if (plus := wild.get("+")) and (levels[depth] or not self._defective("plus-needs-text")):
                stack.append((plus, depth + 1))
        return found

    def __bool__(self) -> bool:
        return bool(self._root.children)
