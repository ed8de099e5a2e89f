"""Workloads: what traffic looks like, as a file that people edit and that load tests, forecasts and verdicts read.

A workload is TOML: ``devices`` that publish and ``consumers`` that receive, and for each kind of message a ``[[flow]]``
with its rate, sizes, destination and guarantees. It names no protocol's features that the other lacks: a ``topic`` is
``a/b/c`` to MQTT and the routing key ``a.b.c`` to AMQP (:meth:`Flow.key`), and ``qos`` is the guarantee wanted:

====  ================  ==========================  =====================================================
qos   guarantee         MQTT                        AMQP
====  ================  ==========================  =====================================================
0     at most once      QoS 0                       no publisher confirms, consumers with no-ack
1     at least once     QoS 1                       publisher confirms, consumers acknowledge
2     exactly once      QoS 2                       as 1: the protocol has no more, consumers drop repeats
====  ================  ==========================  =====================================================

Named workloads stand in ``workloads/*.toml``; ``mqproof analyze --workload-out`` writes one from a capture.
"""

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

SCHEMA: Final = 1
LARGEST_PAYLOAD: Final = 256 << 20  # octets; MQTT 5.0 section 1.5.5 allows no packet beyond it
FEATURES: Final = (
    "topic-routing",  # consumers choose by patterns of topics or keys
    "header-routing",  # consumers choose by headers
    "work-queue",  # several consumers share the messages of one queue
    "fan-out",  # every consumer gets every message
    "replay",  # what was consumed can be read again
    "last-value",  # a new consumer gets the last message of a topic at once (retained messages)
    "presence",  # others learn that a device is gone (wills)
    "offline-queue",  # messages wait for a consumer that is away
    "persistence",  # messages outlive the broker's restart
    "dead-letter",  # what cannot be processed goes to a place of its own
    "priorities",
    "expiry",
)

Sizes = tuple[tuple[int, float], ...]  # octets, share of the messages; the shares add up to 1


class BadWorkload(ValueError):
    """A workload that cannot be used: one line with the file, the key and what to write."""


def _says(text: str, default: Any = MISSING) -> Any:
    return field(metadata={"says": text}) if default is MISSING else field(default=default, metadata={"says": text})


@dataclass(frozen=True, slots=True)
class Flow:
    """One kind of message that every device publishes."""

    name: str = _says("A name for reports.")
    topic: str = _says("MQTT topic, or AMQP routing key; {device} stands for the device's number.")
    rate: float = _says("Messages per second that each device publishes.")
    payload: Sizes = _says("Octets of a message, or a list of [octets, share].")  # noqa: RUF009
    qos: int = _says("0 at most once, 1 at least once, 2 exactly once.", 0)
    exchange: str = _says("AMQP exchange; empty for the default one.", "")
    properties: int = _says("Octets of MQTT 5 properties or of AMQP properties and headers.", 0)
    retain: bool = _says("MQTT: the broker keeps the last message of the topic.", False)
    persistent: bool = _says("Messages outlive the broker's restart.", False)
    subscribers: float = _says("How many consumers get each message, on average.", 1.0)

    @property
    def mean_payload(self) -> float:
        """The mean of the sizes, octets."""
        return sum(size * share for size, share in self.payload)

    @property
    def key(self) -> str:
        """The topic as an AMQP routing key."""
        return self.topic.replace("/", ".")

    def topic_of(self, device: int) -> str:
        """Return the topic that a device publishes on."""
        return self.topic.replace("{device}", str(device))


@dataclass(frozen=True, slots=True)
class Workload:
    """The traffic of a whole system; rates are those of one device."""

    title: str = _says("One line that says what this is.")
    flows: tuple[Flow, ...] = _says("The kinds of messages, one table [[flow]] each.")
    protocol: str = _says("What it was recorded from: mqtt or amqp; any for neither.", "any")
    devices: int = _says("Connections that publish.", 1)
    consumers: int = _says("Connections that receive.", 1)
    keep_alive: int = _says("Seconds between signs of life at most; 0 for none.", 60)
    reconnects_per_day: float = _says("How often each device connects anew in a day.", 0.0)
    tls: bool = _says("Connections are encrypted.", False)
    needs: tuple[str, ...] = _says("What the system cannot do without, such as persistence.", ())

    @property
    def rate(self) -> float:
        """Messages per second that all devices publish together."""
        return self.devices * sum(flow.rate for flow in self.flows)


def names() -> list[str]:
    """Return the names of the workloads that come with the package."""
    folder = files("mqproof.harness") / "workloads"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read(name: str) -> Workload:
    """Return a named workload, or the one in a file. Raises BadWorkload."""
    if name in names():
        text = (files("mqproof.harness") / "workloads" / f"{name}.toml").read_text(encoding="utf-8")
        return parse(text, name)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(names())
        raise BadWorkload(f"{name}: {error.strerror or error}; the named workloads are {known}") from None
    except UnicodeDecodeError as error:
        raise BadWorkload(f"{name} is no TOML: {error}") from None
    return parse(text, name)


def parse(text: str, file: str) -> Workload:
    """Return the workload that a TOML text holds; ``file`` stands in messages. Raises BadWorkload."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadWorkload(f"{file} is no TOML: {error}") from None
    schema = data.pop("schema", None)
    if schema != SCHEMA:
        raise BadWorkload(f"{file}: schema must be {SCHEMA}, not {schema!r}")
    flows = data.pop("flow", [])
    if not isinstance(flows, list) or not flows or not all(isinstance(entry, dict) for entry in flows):
        raise BadWorkload(f"{file}: a workload needs at least one table [[flow]]")
    values = _values(Workload, data, file, "", also=("schema", "flow"), without=("flows",))
    parsed = tuple(_flow(entry, file, f"flow {number}: ") for number, entry in enumerate(flows, 1))
    return _checked(Workload(flows=parsed, **values), file)


def _flow(table: Mapping[str, Any], file: str, place: str) -> Flow:
    return Flow(**_values(Flow, table, file, place))


def _values(
    kind: type, table: Mapping[str, Any], file: str, place: str,
    also: tuple[str, ...] = (), without: tuple[str, ...] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return the values of a table by name, each of its type; unknown keys are refused."""
    known = {entry.name: entry for entry in fields(kind) if entry.name not in without}
    for key in table:
        if key not in known:
            nearest = difflib.get_close_matches(key, [*known, *also], n=1, cutoff=0.4)
            hint = f"; the nearest is {nearest[0]}" if nearest else f"; known are {', '.join([*known, *also])}"
            raise BadWorkload(f"{file}: {place}there is no key {key!r}{hint}")
    for name, entry in known.items():
        if entry.default is MISSING and name not in table:
            raise BadWorkload(f"{file}: {place}{name} is missing: {entry.metadata['says']}")
    kinds = {key: getattr(entry.type, "__name__", "") for key, entry in known.items()}
    return {key: _value(kinds[key], key, value, f"{file}: {place}") for key, value in table.items()}


def _value(kind: str, key: str, value: Any, where: str) -> Any:
    if key == "payload":
        return _sizes(value, where)
    if key == "needs":
        return _needs(value, where)
    wanted = {"str": "a text", "bool": "true or false", "int": "a whole number", "float": "a number"}[kind]
    fits = {
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    }[kind]
    if not fits or (kind in ("int", "float") and value < 0):
        raise BadWorkload(f"{where}{key} must be {wanted}{' of at least 0' if kind in ('int', 'float') else ''}")
    return float(value) if kind == "float" else value


def _sizes(value: Any, where: str) -> Sizes:
    rows = [[value, 1.0]] if isinstance(value, int) else value
    try:
        sizes = tuple((int(size), float(share)) for size, share in rows)
        total = math.fsum(share for _, share in sizes)
    except (TypeError, ValueError):
        total, sizes = 0.0, ()
    legal = all(0 <= size <= LARGEST_PAYLOAD and share > 0 and math.isfinite(share) for size, share in sizes)
    if not sizes or not legal or isinstance(value, bool):
        example = "octets, such as 120, or sizes with shares: [[120, 0.9], [1500, 0.1]]"
        raise BadWorkload(f"{where}payload must be {example}")
    return tuple((size, share / total) for size, share in sizes)


def _needs(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise BadWorkload(f'{where}needs must be a list of texts, such as ["topic-routing"]')
    for entry in value:
        if entry not in FEATURES:
            nearest = difflib.get_close_matches(entry, FEATURES, n=1, cutoff=0.4)
            hint = f"the nearest is {nearest[0]}" if nearest else f"known are {', '.join(FEATURES)}"
            raise BadWorkload(f"{where}nothing known is called {entry!r} (in needs); {hint}")
    return tuple(value)


def _checked(workload: Workload, file: str) -> Workload:
    """Check what one value cannot show alone."""
    complaint = ""
    if workload.protocol not in ("any", "mqtt", "amqp"):
        complaint = f"protocol must be mqtt, amqp or any, not {workload.protocol!r}"
    elif workload.devices < 1:
        complaint = "devices must be at least 1"
    elif workload.keep_alive > 65_535:  # MQTT 5.0 section 3.1.2.10, AMQP connection.tune heartbeat: two octets
        complaint = "keep_alive must be at most 65535 seconds"
    for flow in workload.flows:
        if flow.qos not in (0, 1, 2):
            complaint = f"flow {flow.name}: qos must be 0, 1 or 2"
        elif not flow.topic or set(flow.topic) & set("#+\0"):
            complaint = f"flow {flow.name}: topic must have characters, and no #, + or null among them"
        elif flow.rate == 0:
            complaint = f"flow {flow.name}: rate must be more than 0"
    if complaint:
        raise BadWorkload(f"{file}: {complaint}")
    return workload


def as_toml(workload: Workload) -> str:
    """Return the workload as a TOML text that explains its keys; :func:`parse` reads it back."""
    lines = [f"schema = {SCHEMA}"]
    lines += _lines(workload, without=("flows",))
    for number, flow in enumerate(workload.flows):
        lines += ["", "[[flow]]", *_lines(flow, says=number == 0)]
    return "\n".join(lines) + "\n"


def _lines(table: Any, without: tuple[str, ...] = (), *, says: bool = True) -> list[str]:
    lines = []
    for entry in fields(table):
        if entry.name not in without:
            pair = f"{entry.name} = {_toml(entry.name, getattr(table, entry.name))}"
            lines.append(f"{pair}  # {entry.metadata['says']}" if says else pair)
    return lines


def _toml(name: str, value: Any) -> str:
    if name == "payload":
        if len(value) == 1:
            return str(value[0][0])
        return "[" + ", ".join(f"[{size}, {share:.4g}]" for size, share in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_quoted, value)) + "]"
    if isinstance(value, float):
        return f"{value:.6g}" if value != int(value) else f"{value:.1f}"
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """Return a TOML basic string (TOML 1.0, "String")."""
    escaped = (f"\\{c}" if c in '"\\' else c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in text)
    return '"' + "".join(escaped) + '"'
