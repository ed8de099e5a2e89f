"""The messages of one queue that wait for a consumer, in the order in which they go out.

Higher priorities first (rule basic/06), first come first served within one (rule basic/08, section 4.7). A message that
comes back takes its old place. Every operation on either end takes constant time.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from mqproof.harness.reference.amqp.message import Entry


class Ready:
    """Entries by priority level. ``octets`` counts their bodies."""

    def __init__(self) -> None:
        self._levels: dict[int, deque[Entry]] = {}
        self._order: list[int] = []  # descending
        self._count = 0
        self.octets = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        for level in self._order:
            yield from self._levels[level]

    def push(self, entry: Entry) -> None:
        """Take an entry that is newer than all others."""
        self._level(entry.level).append(entry)
        self._count += 1
        self.octets += len(entry.message.body)

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Take entries that were here before, each into its old place.

        Only the entries older than the youngest one that comes back are moved.
        """
        by_level: dict[int, list[Entry]] = {}
        for entry in entries:
            by_level.setdefault(entry.level, []).append(entry)
        for level, returned in by_level.items():
            line = self._level(level)
            self._count += len(returned)
            self.octets += sum(len(entry.message.body) for entry in returned)
            youngest = max(entry.position for entry in returned)
            while line and line[0].position < youngest:
                returned.append(line.popleft())
            returned.sort(key=lambda entry: entry.position, reverse=True)
            line.extendleft(returned)

    def first(self) -> Entry | None:
        """Return the entry that goes out next; it stays."""
        return next(iter(self), None)

    def remove(self, entry: Entry) -> None:
        """Forget an entry: constant time for the first of its level."""
        line = self._levels[entry.level]
        if line[0] is entry:
            line.popleft()
        else:
            line.remove(entry)
        self._count -= 1
        self.octets -= len(entry.message.body)

    def heads(self) -> list[Entry]:
        """Return the first entry of each level."""
        return [line[0] for line in self._levels.values() if line]

    def last(self) -> Entry | None:
        """Return the entry that came last, of the lowest level that has any."""
        return next((self._levels[level][-1] for level in reversed(self._order) if self._levels[level]), None)

    def clear(self) -> list[Entry]:
        """Forget all entries and return them in order."""
        entries = list(self)
        self._levels.clear()
        self._order.clear()
        self._count = self.octets = 0
        return entries

    def _level(self, level: int) -> deque[Entry]:
        line = self._levels.get(level)
        if line is None:
            line = self._levels[level] = deque()
            self._order = sorted(self._levels, reverse=True)
        return line
