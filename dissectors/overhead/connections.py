"""Connections that a walk has finished: the largest one by one, all of them by protocol, version and direction.

Each connection is one row, so the rows that are kept are exactly the largest; what is dropped is added up.
"""

import heapq
import ipaddress
from dataclasses import dataclass, field
from typing import Any, Final

from mqproof.dissectors.packets import state as w

KEPT: Final = 1000
PROTOCOLS: Final = {
    w.UNKNOWN: "unknown", w.PLAIN_AMQP: "amqp", w.PLAIN_MQTT: "mqtt", w.PLAIN_OTHER: "other", w.OVER_TLS: "tls",
    w.HTTP: "other", w.OVER_WEBSOCKET: "mqtt over websocket", w.AMQP_OVER_WEBSOCKET: "amqp over websocket",
}  # fmt: skip
VERSIONS: Final = {
    w.PLAIN_MQTT: {3: "3.1", 4: "3.1.1", 5: "5.0"},
    w.OVER_WEBSOCKET: {3: "3.1", 4: "3.1.1", 5: "5.0"},
    w.PLAIN_AMQP: {0: "0-9-1"},
    w.AMQP_OVER_WEBSOCKET: {0: "0-9-1"},
    w.OVER_TLS: {2: "1.2", 3: "1.3"},
}
NO_VERSION: Final = frozenset({"unknown", "other"})

Row = tuple[int, ...]


@dataclass
class Figures:
    """What connections add up to. ``bytes`` and ``packets``: from the client, from the broker, from who knows."""

    connections: int = 0
    frames: int = 0
    messages: int = 0
    payload: int = 0
    packets: list[int] = field(default_factory=lambda: [0, 0, 0])
    bytes: list[int] = field(default_factory=lambda: [0, 0, 0])

    def add(self, other: "Figures") -> None:
        """Add others' figures."""
        self.connections += other.connections
        self.frames += other.frames
        self.messages += other.messages
        self.payload += other.payload
        self.packets = [a + b for a, b in zip(self.packets, other.packets, strict=True)]
        self.bytes = [a + b for a, b in zip(self.bytes, other.bytes, strict=True)]


@dataclass
class Connection:
    """One connection; ``ends``: client and broker where that is known, else the first packet's sender first."""

    ends: tuple[str, str]
    protocol: str
    version: str | None
    known: bool  # who is the client
    first_time: int
    last_time: int
    figures: Figures

    @property
    def size(self) -> int:
        """Octets of its packets."""
        return sum(self.figures.bytes)


def connection(row: Row) -> Connection:
    """Return what a row of the walk's table says."""
    client = row[w.C_CLIENT]
    a, b = end(row, w.C_A0, w.C_PORT_A), end(row, w.C_B0, w.C_PORT_B)
    packets = (row[w.CONN_HEAD], row[w.CONN_HEAD + 2])
    octets = (row[w.CONN_HEAD + 1], row[w.CONN_HEAD + 3])
    known = client >= 0
    figures = Figures(1, row[w.C_FRAMES], row[w.C_MESSAGES], row[w.C_PAYLOAD])
    for mine, seen in ((figures.packets, packets), (figures.bytes, octets)):
        if known:
            mine[:2] = [seen[client], seen[1 - client]]
        else:
            mine[2] = sum(seen)
    protocol = row[w.C_PROTOCOL]
    number = row[w.C_TLS_VERSION] if protocol == w.OVER_TLS else row[w.C_VERSION]
    return Connection(
        (b, a) if client == 1 else (a, b), PROTOCOLS[protocol], VERSIONS.get(protocol, {}).get(number), known,
        row[w.C_FIRST_TIME], row[w.C_LAST_TIME], figures,
    )  # fmt: skip


def end(row: Row, address: int, port: int) -> str:
    """Return one end of a connection as host:port."""
    words = row[address : address + row[w.C_FAMILY]]
    host = ipaddress.ip_address(b"".join(word.to_bytes(4, "big") for word in words))
    return f"[{host}]:{row[port]}" if host.version == 6 else f"{host}:{row[port]}"


@dataclass
class Connections:
    """The largest connections and what all of them add up to; grows to KEPT rows and no further."""

    largest: list[tuple[int, int, Connection]] = field(default_factory=list)
    totals: dict[tuple[str, str | None], Figures] = field(default_factory=dict)
    other: Figures = field(default_factory=Figures)
    _count: int = 0

    def take(self, s: Any) -> None:
        """Empty the walk's table of rows."""
        used = int(s[w.ROWS_USED])
        values = s[w.ROWS : w.ROWS + used * w.ROW_WORDS]
        flat = values.tolist() if hasattr(values, "tolist") else values
        for at in range(0, len(flat), w.ROW_WORDS):
            self.add(connection(tuple(flat[at : at + w.ROW_WORDS])))
        s[w.ROWS_USED] = 0

    def add(self, one: Connection) -> None:
        """Count a connection; keep it if it is one of the largest."""
        self.totals.setdefault((one.protocol, one.version), Figures()).add(one.figures)
        self._keep(one)

    def merge(self, others: "Connections") -> None:
        """Add another file's."""
        for key, figures in others.totals.items():
            self.totals.setdefault(key, Figures()).add(figures)
        for _, _, one in others.largest:
            self._keep(one)
        self.other.add(others.other)

    def _keep(self, one: Connection) -> None:
        self._count += 1
        entry = (one.size, -self._count, one)
        if len(self.largest) < KEPT:
            heapq.heappush(self.largest, entry)
            return
        _, _, dropped = heapq.heappushpop(self.largest, entry)
        self.other.add(dropped.figures)


def as_json(found: Connections, top: int, *, real: bool) -> dict[str, Any]:
    """Return the ``top`` largest connections, and the rest as one row; ``real``: the packets are, not only streams."""
    ordered = [one for _, _, one in sorted(found.largest, key=lambda entry: (-entry[0], -entry[1]))]
    rest = Figures()
    rest.add(found.other)
    for one in ordered[top:]:
        rest.add(one.figures)
    return {
        "top": [_row(one, real=real) for one in ordered[:top]],
        "other": {"connections": rest.connections, **_figures(rest, real=real)},
        "distinct": sum(figures.connections for figures in found.totals.values()),
    }


def by_version(found: Connections, *, real: bool) -> list[dict[str, Any]]:
    """Return one row for each protocol and version."""
    return [
        {"protocol": protocol, "version": version, "connections": figures.connections, **_figures(figures, real=real)}
        for (protocol, version), figures in sorted(found.totals.items(), key=lambda pair: (pair[0][0], str(pair[0][1])))
    ]


def _row(one: Connection, *, real: bool) -> dict[str, Any]:
    return {
        "client" if one.known else "one_end": one.ends[0],
        "broker" if one.known else "other_end": one.ends[1],
        "protocol": one.protocol,
        "version": one.version,
        "duration_s": round(max(0, one.last_time - one.first_time) / 1e9, 6),
        **_figures(one.figures, real=real),
    }


def _figures(figures: Figures, *, real: bool) -> dict[str, Any]:
    names = ("from_client", "from_broker", "direction_unknown")
    return {
        "frames": figures.frames,
        "messages": figures.messages,
        "payload": figures.payload,
        "packets": sum(figures.packets) if real else None,
        "bytes": sum(figures.bytes) if real else None,
        "by_direction": {
            name: {"packets": packets, "bytes": octets}
            for name, packets, octets in zip(names, figures.packets, figures.bytes, strict=True)
            if packets
        } if real else None,
    }  # fmt: skip
