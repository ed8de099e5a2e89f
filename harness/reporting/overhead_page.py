"""docs/overhead.md: what AMQP and MQTT cost per message, from the captures made for it (captures/overhead.py)."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mqproof.dissectors.overhead.account import by_layer
from mqproof.dissectors.overhead.engine import Plain, analyze
from mqproof.dissectors.overhead.frames import Connection, Watcher, kind_of
from mqproof.dissectors.overhead.streams import Seen
from mqproof.dissectors.overhead.views import look
from mqproof.dissectors.packets.pcap import read_packets
from mqproof.harness.reporting.charts import lines, stacked_bars

SIZES: Final = (0, 16, 64, 256, 1024, 4096)
MESSAGES: Final = 4  # of each size
SHOWN: Final = 64  # octets of payload in the bar chart
CAPTURES: Final = {
    "mqtt-overhead-qos0": "MQTT QoS 0",
    "mqtt-overhead-qos1": "MQTT QoS 1",
    "mqtt-overhead-qos2": "MQTT QoS 2",
    "amqp-overhead-no-ack": "AMQP, no acks",
    "amqp-overhead": "AMQP, confirms + acks",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One capture: ``sizes``: rows by payload size; ``frames``: a message's frames by kind, octets without payload."""

    name: str
    made: str
    sizes: Mapping[int, Mapping[str, Any]]
    frames: Mapping[str, float]
    layers: Mapping[str, int | None]

    def per_message(self, size: int, column: str) -> float:
        """Return a sum divided by the messages."""
        row = self.sizes[size]
        return float(row[column]) / int(row["messages"])

    def overhead(self, size: int) -> float:
        """Octets on the wire for one message from publisher to consumer, without the payload on both legs."""
        return self.per_message(size, "bytes") - 2 * size


class _Frames(Watcher):
    """Octets of frames that are not payload, by kind."""

    def __init__(self) -> None:
        self.octets: dict[str, set[int]] = {}

    def frame(self, connection: Connection, side: int, seen: Seen) -> None:
        """Note the frame's size."""
        self.octets.setdefault(kind_of(connection, seen), set()).add(seen.size - seen.payload)


def measure(folder: Path) -> dict[str, Measured]:
    """Return what the captures hold. Raises CaptureError."""
    found = {}
    for name in CAPTURES:
        path = folder / f"{name}.pcapng"
        frames = _Frames()
        views = look([(name, read_packets(path))], [frames])
        rows = {row["size"]: row for row in views.messages["by_size"]}
        made = tomllib.loads(path.with_suffix(".toml").read_text())["made"]
        layers = by_layer(analyze(str(path), engine=Plain()))
        found[name] = Measured(name, made, rows, {kind: min(sizes) for kind, sizes in frames.octets.items()}, layers)
    return found


def bars(found: Mapping[str, Measured]) -> str:
    """Return the chart of one message of SHOWN octets."""
    rows = {}
    for name, says in CAPTURES.items():
        one = found[name]
        own, bare = one.per_message(SHOWN, "frame_bytes"), one.per_message(SHOWN, "bare_ack_bytes")
        rows[says] = {
            "payload": 2 * SHOWN,
            "frames": own - 2 * SHOWN,
            "headers of these packets": one.per_message(SHOWN, "bytes") - own - bare,
            "packets that are only a TCP ACK": bare,
        }
    return stacked_bars(f"One message of {SHOWN} octets, publisher to broker to consumer", "bytes", rows)


def curves(found: Mapping[str, Measured]) -> str:
    """Return the chart of bytes on the wire for each byte that was to be told, against the size."""
    rows = {
        says: [(size, found[name].per_message(size, "bytes") / (2 * size)) for size in SIZES if size]
        for name, says in CAPTURES.items()
    }
    return lines("Bytes on the wire for each byte of payload", "octets of payload", "bytes per byte", rows)


def page(found: Mapping[str, Measured]) -> str:
    """Return the page as Markdown; the charts stand beside it."""
    return f"""# What a message costs on the wire

<!-- Generated from captures/*-overhead*.pcapng by `make docs/overhead.md`: do not edit. -->

Measured, not looked up: the same messages, one after the other, from one publisher through a broker to one consumer,
recorded packet by packet on loopback (`captures/*overhead*.pcapng`; a TOML file beside each says how it was made), and
counted by `mqproof analyze --messages`. The topic, or routing key, has nine octets (`sensors/a`); no properties, no
headers, no TLS; TCP with timestamps, Nagle's algorithm off. All figures are for both legs together, publisher to broker
and broker to consumer, and the mean of the {MESSAGES} messages of each size.

![One message of {SHOWN} octets](overhead-bars.svg)

## Bytes beside the payload, per message

{_table(found, "overhead")}

These are all octets on the wire: Ethernet, IP and TCP headers of each packet that the message needed, TCP's bare
acknowledgements among them. Bare acknowledgements depend on timing, so a message can differ by a packet or two from one
recording to the next; one that acknowledges a message and what set the connection up is divided between the two, by
octets, which is why the first row does not fit the others. A packet on loopback can hold 64 KiB: on Ethernet the
largest messages here take three packets.

## Octets of the protocol alone, per message

{_table(found, "frame")}

Without TCP/IP: frames and packets of the message itself and of its acknowledgements, without the payload. These do not
depend on timing at all. They grow by an octet or two where MQTT's remaining length needs another octet, and by 8 for
each further AMQP body frame; an AMQP message without a body has no body frame, which saves 8 on each leg.

![Bytes on the wire for each byte of payload](overhead-curves.svg)

## Three claims

{_claims(found)}

## How it was made

{_made(found)}

Again: `python captures/overhead.py` records the captures anew (as root, with mosquitto and rabbitmq-server installed);
`make docs/overhead.md` writes this page from them. Any capture of yours gives its own table:
`mqproof analyze FILE --messages`.
"""


def _claims(found: Mapping[str, Measured]) -> str:
    amqp, no_ack = found["amqp-overhead"], found["amqp-overhead-no-ack"]
    qos0, qos1, qos2 = (found[f"mqtt-overhead-qos{qos}"] for qos in range(3))
    return f"""**"AMQP: text-based headers."** They are binary. The frames of one message in octets beside the payload:
`basic.publish` {amqp.frames["basic.publish"]:.0f}, content header {amqp.frames["header"]:.0f}, body frame
{amqp.frames["body"]:.0f}; `basic.deliver` {amqp.frames["basic.deliver"]:.0f}, and header and body again. Text among
them is what the application called its things: the routing key (9 octets, and one for its length), the exchange's name
(empty here) and the consumer tag (`c`). Method, class, channel, sizes and property flags are numbers of fixed width. Of
the {_own(no_ack):.0f} octets that a message without acknowledgements has beside its payload on both legs,
{_routing(no_ack):.0f} are exchange and routing key, lengths included.

**"MQTT: 2-byte fixed header."** Two octets is the least: one for type and flags, and a remaining length of one to four
octets (MQTT 5.0 section 2.1.4), so the fixed header has two to five. And it is not all there is: a PUBLISH carries its
topic each time (2 octets of length, then the name), above QoS 0 a packet identifier (2), in 5.0 properties (at least
1). The smallest PUBLISH here has {qos0.frames["PUBLISH"]:.0f} octets beside the payload at QoS 0 and
{qos1.frames["PUBLISH"]:.0f} at QoS 1, and its PUBACK {qos1.frames["PUBACK"]:.0f}.

**"Header: MQTT 2 bytes, CoAP 4, AMQP 8."** The table that textbooks copy from each other compares different things. 2
is the least fixed header of MQTT, without the topic. 8 is one AMQP frame's envelope (7 octets before, 1 behind; in AMQP
1.0, which is another protocol, 8 octets before), but a message takes three frames. 4 is CoAP's fixed header (RFC 7252
section 3), over UDP, without token and options, such as the path that stands for a topic. Measured for a message of
{SHOWN} octets, one leg, without acknowledgements: MQTT at QoS 0 adds {_leg(qos0):.0f} octets of its own, AMQP
{_leg(no_ack):.0f}. On the wire, with everything, from publisher to consumer:
{qos0.overhead(SHOWN):.0f} octets beside the payload against {no_ack.overhead(SHOWN):.0f}; with all acknowledgements,
{qos1.overhead(SHOWN):.0f} (QoS 1) and {qos2.overhead(SHOWN):.0f} (QoS 2) against {amqp.overhead(SHOWN):.0f}.
TCP and IP weigh more than either protocol: one packet without data is 66 octets here."""


def write_page(captures: Path, docs: Path) -> None:
    """Write the page and its charts."""
    for name, text in contents(captures).items():
        (docs / name).write_text(text, encoding="utf-8")


def contents(captures: Path) -> dict[str, str]:
    """Return the files by name."""
    found = measure(captures)
    return {
        "overhead.md": page(found),
        "overhead-bars.svg": bars(found) + "\n",
        "overhead-curves.svg": curves(found) + "\n",
    }


def _table(found: Mapping[str, Measured], what: str) -> str:
    head = "| payload | " + " | ".join(CAPTURES.values()) + " |"
    rows = [head, "|---:|" + "---:|" * len(CAPTURES)]
    for size in SIZES:
        cells = []
        for one in found.values():
            value = one.overhead(size) if what == "overhead" else one.per_message(size, "frame_bytes") - 2 * size
            cells.append(f"{value:,.0f}")
        rows.append(f"| {size:,} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _leg(one: Measured) -> float:
    """Return what the publisher's frames of a message add: the protocol's own octets, one leg."""
    if "PUBLISH" in one.frames:
        return one.frames["PUBLISH"]
    return sum(one.frames[kind] for kind in ("basic.publish", "header", "body"))


def _own(one: Measured) -> float:
    return one.per_message(SHOWN, "frame_bytes") - 2 * SHOWN


def _routing(one: Measured) -> float:
    return (one.layers["routing"] or 0) / (MESSAGES * len(SIZES))


def _made(found: Mapping[str, Measured]) -> str:
    return "\n".join(f"- `{name}.pcapng`: {one.made}" for name, one in found.items())
