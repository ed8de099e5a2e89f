"""What is kept of a walk: plain numbers that add up exactly when several files are merged."""

from dataclasses import dataclass, field
from typing import Any, Final

from mqproof.dissectors.amqp.tables import METHODS
from mqproof.dissectors.mqtt.tables import PacketType
from mqproof.dissectors.overhead.connections import Connections
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.pcap import Notes

COUNTERS: Final = {
    "packets": w.PACKETS, "captured": w.CAPTURED, "wire": w.WIRE, "made_up": w.MADE_UP, "tcp_packets": w.TCP_PACKETS,
    "other_packets": w.NON_TCP, "bad_packets": w.BAD_PACKETS, "fragments": w.FRAGMENTS, "cut_packets": w.CUT_PACKETS,
    "fragments_repeated": w.FRAGMENTS_REPEATED, "datagrams_reassembled": w.REASSEMBLED,
    "datagrams_given_up": w.DATAGRAMS_GIVEN_UP, "datagrams_bound": w.DATAGRAMS_BOUND,
    "connections": w.CONNS_SEEN, "connections_given_up": w.CONNS_EVICTED, "mid_stream": w.MID_STREAM,
    "retransmitted": w.RETRANSMITTED, "retransmitted_bytes": w.RETRANSMITTED_OCTETS, "out_of_order": w.OUT_OF_ORDER,
    "gaps": w.GAPS, "lost_bytes": w.LOST, "reassembly_bound": w.STREAMS_BOUND, "malformed": w.MALFORMED,
    "resyncs": w.RESYNCS, "damaged": w.DAMAGED, "incomplete": w.INCOMPLETE, "tls_connections": w.TLS_SEEN,
    "websocket_connections": w.WEBSOCKET_SEEN, "tls_records": w.TLS_RECORDS, "tls_sized": w.TLS_SIZED,
    "tls_octets": w.TLS_OCTETS, "tls_size_2": w.TLS_SIZE_2, "tls_size_4": w.TLS_SIZE_4, "tls_size_8": w.TLS_SIZE_8,
    "tls_size_21": w.TLS_SIZE_21, "tls_pings": w.TLS_PINGS, "tls_intervals": w.TLS_INTERVALS,
    "tls_interval_time": w.TLS_INTERVAL_TIME, "keys_offset": w.KEYS_OFFSET, "keys_purged": w.KEYS_PURGED,
}  # fmt: skip

KIND_NAMES: Final = {
    **{("mqtt", w.K_MQTT + kind.value): kind.name for kind in PacketType},
    **{("amqp", w.K_AMQP + number): name for number, name in enumerate(METHODS)},
    ("amqp", w.K_AMQP_HEADER): "header",
    ("amqp", w.K_AMQP_BODY): "body",
    ("amqp", w.K_AMQP_HEARTBEAT): "heartbeat",
    ("amqp", w.K_AMQP_PROTOCOL_HEADER): "protocol-header",
    ("amqp", w.K_AMQP_UNKNOWN): "unknown-method",
}

KeyName = tuple[str, bytes]  # protocol; a topic, or the exchange's length octet, the exchange, and the routing key


@dataclass
class KeyFigures:
    """One topic's, or one exchange and routing key's, figures. ``length``: of the key, of which a part may be kept."""

    length: int = 0
    published: int = 0
    delivered: int = 0
    payload: int = 0
    bytes: int = 0

    @property
    def messages(self) -> int:
        """How often a message with this key crossed the wire."""
        return self.published + self.delivered

    def add(self, other: "KeyFigures") -> None:
        """Add another file's figures for the same key."""
        self.length = other.length
        self.published += other.published
        self.delivered += other.delivered
        self.payload += other.payload
        self.bytes += other.bytes


@dataclass
class Summary:
    """A walk's result. ``account``: octets by class and layer, flat; ``class_packets``: packets by class."""

    files: list[str]
    notes: list[Notes]
    synthetic: bool
    counters: dict[str, int]
    account: list[int]
    class_packets: list[int]
    kinds: list[int]
    messages: list[int]
    keys: dict[KeyName, KeyFigures] = field(default_factory=dict)
    other_keys: KeyFigures = field(default_factory=KeyFigures)
    first_time: int = 0
    last_time: int = 0
    connections: Connections = field(default_factory=Connections)

    def merge(self, other: "Summary") -> None:
        """Add another file's result: totals exactly, the tables of keys within the sum of their bounds."""
        self.files += other.files
        self.notes += other.notes
        for name, count in other.counters.items():
            self.counters[name] += count
        for mine, theirs in (
            (self.account, other.account),
            (self.class_packets, other.class_packets),
            (self.kinds, other.kinds),
            (self.messages, other.messages),
        ):
            mine[:] = [a + b for a, b in zip(mine, theirs, strict=True)]
        for key, figures in other.keys.items():
            self.keys.setdefault(key, KeyFigures()).add(figures)
        self.other_keys.add(other.other_keys)
        self.connections.merge(other.connections)
        times = [t for t in (self.first_time, other.first_time) if t]
        self.first_time = min(times, default=0)
        self.last_time = max(self.last_time, other.last_time)


def summarise(name: str, s: Any, m: Any, notes: Notes, connections: Connections) -> Summary:
    """Copy what is to be kept out of the kernels' arrays."""

    def part(start: int, count: int) -> list[int]:
        return [int(value) for value in s[start : start + count]]

    return Summary(
        files=[name],
        notes=[notes],
        synthetic=bool(s[w.SYNTHETIC]),
        counters={key: int(s[register]) for key, register in COUNTERS.items()},
        account=part(w.ACC, w.CLASS_COUNT * w.LAYER_COUNT),
        class_packets=part(w.CLASS_PACKETS, w.CLASS_COUNT),
        kinds=part(w.KINDS, w.KIND_COUNT * w.KIND_WORDS),
        messages=part(w.MESSAGES, w.GROUP_COUNT * 4 * w.MESSAGE_WORDS),
        keys=_keys(s, m),
        other_keys=_figures(s, w.KEY_OTHER),
        first_time=int(s[w.FIRST_TIME]),
        last_time=int(s[w.LAST_TIME]),
        connections=connections,
    )


def _keys(s: Any, m: Any) -> dict[KeyName, KeyFigures]:
    found: dict[KeyName, KeyFigures] = {}
    for number in range(int(s[w.KEYS_FRESH])):
        entry = w.KEY_TABLE + number * w.KEY_WORDS
        if s[entry + w.KEY_SERIAL] == 0:
            continue
        at = w.M_KEYS + number * w.KEY_OCTETS
        octets = bytes(m[at : at + int(s[entry + w.KEY_LENGTH])])
        group = "amqp" if s[entry + w.KEY_GROUP] == w.G_AMQP else "mqtt"
        found.setdefault((group, octets), KeyFigures()).add(_figures(s, entry))
    return found


def _figures(s: Any, entry: int) -> KeyFigures:
    columns = (w.KEY_FULL_LENGTH, w.KEY_PUBLISHED, w.KEY_DELIVERED, w.KEY_PAYLOAD, w.KEY_BYTES)
    return KeyFigures(*(int(s[entry + column]) for column in columns))
