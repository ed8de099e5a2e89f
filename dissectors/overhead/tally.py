"""What is counted of the frames that a selection asks for: in all, by kind, by connection."""

from dataclasses import dataclass, field
from typing import Any

from mqproof.dissectors.amqp.codec import Method
from mqproof.dissectors.mqtt.packets import Publish
from mqproof.dissectors.overhead.frames import Connection, Watcher, kind_of
from mqproof.dissectors.overhead.selection import Selection
from mqproof.dissectors.overhead.streams import Seen

SHOWN = 20  # connections


@dataclass(slots=True)
class _Row:
    count: int = 0
    bytes: int = 0
    payload: int = 0
    headers: float = 0.0

    def add(self, seen: Seen) -> None:
        self.count += 1
        self.bytes += seen.size
        self.payload += seen.payload
        self.headers += seen.header_share

    def as_json(self) -> dict[str, Any]:
        return {
            "count": self.count, "bytes": self.bytes, "payload": self.payload, "headers": round(self.headers, 1),
        }  # fmt: skip


@dataclass(slots=True)
class Tally(Watcher):
    """Counts the frames that are asked for. ``headers``: the packets' headers, divided by octets."""

    selection: Selection
    total: _Row = field(default_factory=_Row)
    by_kind: dict[str, _Row] = field(default_factory=dict)
    by_connection: dict[str, _Row] = field(default_factory=dict)
    _contents: dict[tuple[Connection, int, int], bool] = field(default_factory=dict)

    def frame(self, connection: Connection, side: int, seen: Seen) -> None:
        """Count a frame."""
        kind = kind_of(connection, seen)
        if not self._on_topic(connection, side, seen) or not self.selection.kind(kind):
            return
        self.total.add(seen)
        self.by_kind.setdefault(kind, _Row()).add(seen)
        name = f"{connection.ends[side]} to {connection.ends[1 - side]}"
        if name in self.by_connection or len(self.by_connection) < 100 * SHOWN:
            self.by_connection.setdefault(name, _Row()).add(seen)

    def ended(self, connection: Connection, time: int) -> None:
        """Forget what its channels carry."""
        for key in [key for key in self._contents if key[0] is connection]:
            del self._contents[key]

    def as_json(self) -> dict[str, Any]:
        """Return the counts, the connections with the most octets first."""
        connections = sorted(self.by_connection.items(), key=lambda pair: -pair[1].bytes)
        return {
            "frames": self.total.as_json(),
            "by_kind": {name: row.as_json() for name, row in sorted(self.by_kind.items())},
            "by_connection": [{"connection": name, **row.as_json()} for name, row in connections[:SHOWN]],
        }

    def _on_topic(self, connection: Connection, side: int, seen: Seen) -> bool:
        """Return whether a frame carries a topic that is asked for; header and bodies go with their method."""
        frame = seen.frame
        if not self.selection.topics:
            return True
        if isinstance(frame, Publish):
            return self.selection.message("mqtt", frame.topic)
        if connection.protocol != "amqp":
            return False
        key = (connection, side, getattr(frame, "channel", 0))
        if isinstance(frame, Method):
            routing_key = frame.arguments.get("routing_key")
            self._contents[key] = routing_key is not None and self.selection.message("amqp", f" / {routing_key}")
        return self._contents.get(key, False)
