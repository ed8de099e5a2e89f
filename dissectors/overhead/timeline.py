"""How much went over the wire when: a bounded number of equal slices of time, by what it was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mqproof.dissectors.overhead.frames import Connection, Segment, Watcher
from mqproof.dissectors.packets.tcp import ACK, FIN, RST, SYN

SLICES: Final = 120  # at most; half of them at least, unless the capture is shorter
FIRST_SLICE: Final = 1_000_000  # ns
OTHER: Final = "neither, or not known yet"
ROWS: Final = ("MQTT", "AMQP", "TCP acknowledgements only", "retransmitted", OTHER)


@dataclass(slots=True)
class Timeline(Watcher):
    """Adds up captured octets of TCP packets; a slice doubles when there would be too many."""

    slice: int = FIRST_SLICE
    first: int | None = None
    rows: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in ROWS})

    def segment(self, connection: Connection, seen: Segment) -> None:
        """Take a packet."""
        if self.first is None:
            self.first = seen.time
        if seen.time < self.first:
            self._begin_earlier(self.first - seen.time)
        number = (seen.time - self.first) // self.slice
        while number >= SLICES:
            self._double()
            number //= 2
        row = self.rows[_row(connection, seen)]
        row.extend([0] * (number + 1 - len(row)))
        row[number] += seen.captured

    def series(self) -> Mapping[str, list[int]]:
        """Return the rows that have anything."""
        return {name: row for name, row in self.rows.items() if any(row)}

    def _begin_earlier(self, nanoseconds: int) -> None:
        """A file, or a packet, that is older than the first one: put slices before all others."""
        assert self.first is not None
        while max(map(len, self.rows.values())) + nanoseconds // self.slice >= SLICES:
            self._double()
        more = -(-nanoseconds // self.slice)
        self.first -= more * self.slice
        for name, row in self.rows.items():
            self.rows[name] = [0] * more + row if row else row

    def _double(self) -> None:
        self.slice *= 2
        for name, row in self.rows.items():
            self.rows[name] = [sum(row[at : at + 2]) for at in range(0, len(row), 2)]


def _row(connection: Connection, seen: Segment) -> str:
    if seen.repeated:
        return "retransmitted"
    if seen.length == 0 and seen.flags & (SYN | FIN | RST | ACK) == ACK:
        return "TCP acknowledgements only"
    return connection.protocol.upper() or OTHER
