"""A second opinion on a capture: tshark's counts, and single packets as tshark reads them, through pyshark.

tshark needs ``tcp.reassemble_out_of_order``, or it loses half of a stream with segments out of order; it loses an MQTT
stream whose remaining length straddles two segments, and it knows nothing of streams that it cannot see begin:
checking.py says where that explains a difference.
"""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mqproof.dissectors.amqp.tables import BY_ID, FrameType
from mqproof.dissectors.mqtt.tables import PacketType
from mqproof.dissectors.packets.opening import Opener
from mqproof.dissectors.packets.pcap import read_packets
from mqproof.dissectors.packets.tcp import ACK, SYN

OUT_OF_ORDER: Final = ("-o", "tcp.reassemble_out_of_order:TRUE")
DEADLINE: Final = 600.0  # seconds
_FIELDS: Final = ("mqtt.msgtype", "amqp.type", "amqp.method.class", "amqp.method.method")
_MQTT_NAMES: Final = {kind.value: kind.name for kind in PacketType}
_FRAME_NAMES: Final[dict[int, str]] = {
    FrameType.HEADER: "header", FrameType.BODY: "body", FrameType.HEARTBEAT: "heartbeat",
}  # fmt: skip

UNKNOWN: Final = "unknown"  # a frame type that there is not: tshark shows it all the same
NOT_COUNTED: Final = frozenset({"protocol-header"})  # tshark shows it on port 5672 only

Counts = dict[str, dict[str, int]]  # protocol -> kind -> count, named as in the account


class OracleMissing(Exception):
    """tshark is not installed, or cannot read the file; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """One MQTT packet as tshark reads it; None where the packet has no such field."""

    type: str
    topic: str | None
    qos: int | None
    packet_id: int | None


def available() -> bool:
    """Return whether tshark is installed."""
    return shutil.which("tshark") is not None


def counts(path: str | Path, ports: Mapping[int, str] | None = None) -> Counts:
    """Return how many packets and frames of each kind tshark sees.

    ``ports``: server ports and what is spoken there ("amqp", "mqtt"), for ports that tshark does not know. Raises
    OracleMissing.
    """
    columns = [part for field in _FIELDS for part in ("-e", field)]
    printed = _tshark(path, ports or {}, "-T", "fields", "-E", "aggregator=,", *columns)
    seen: dict[str, Counter[str]] = {"mqtt": Counter(), "amqp": Counter()}
    for line in printed.splitlines():
        kinds, types, classes, methods = [cell.split(",") if cell else [] for cell in line.split("\t")]
        seen["mqtt"].update(_MQTT_NAMES.get(int(kind), "reserved") for kind in kinds)
        seen["amqp"].update(_FRAME_NAMES.get(int(kind), UNKNOWN) for kind in types if int(kind) != FrameType.METHOD)
        seen["amqp"].update(map(_method, classes, methods))
    return {protocol: dict(counter) for protocol, counter in seen.items()}


def _method(class_id: str, method_id: str) -> str:
    method = BY_ID.get((int(class_id), int(method_id)))
    return "unknown-method" if method is None else method.name


def mqtt_packets(path: str | Path, ports: Mapping[int, str]) -> Iterator[Opinion]:
    """Yield MQTT packets one by one, through pyshark. Raises OracleMissing."""
    if not available():
        raise OracleMissing("tshark is not installed: apt-get install --no-install-recommends tshark")
    import asyncio

    import pyshark  # type: ignore[import-untyped]

    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    try:
        capture = pyshark.FileCapture(
            str(path), custom_parameters=list(OUT_OF_ORDER), decode_as=_decode_as(ports), eventloop=loop
        )
        with capture:
            for packet in capture:
                for layer in packet.get_multiple_layers("mqtt"):  # packet.mqtt would be the first one only
                    yield _opinion(layer)
    finally:
        loop.close()
        asyncio.set_event_loop(None)


def server_ports(path: str | Path) -> set[int]:
    """Return the ports to which connections were opened in a capture."""
    opener = Opener()
    segments = filter(None, map(opener.tcp, read_packets(path)))
    return {int.from_bytes(segment.sink[-2:]) for segment in segments if segment.flags & (SYN | ACK) == SYN}


def _opinion(layer: Any) -> Opinion:
    """The values of pyshark are strings: turn them into our own type once, here."""

    def text(name: str) -> str | None:
        value = layer.get_field(name)
        return None if value is None else str(value)

    def number(name: str) -> int | None:
        value = text(name)
        return None if value is None else int(value, 0)

    return Opinion(PacketType(number("msgtype") or 0).name, text("topic"), number("qos"), number("msgid"))


def _decode_as(ports: Mapping[int, str]) -> dict[str, str]:
    return {f"tcp.port=={port}": protocol for port, protocol in ports.items()}


def _tshark(path: str | Path, ports: Mapping[int, str], *arguments: str) -> str:
    if not available():
        raise OracleMissing("tshark is not installed: apt-get install --no-install-recommends tshark")
    decode_as = [part for rule, protocol in _decode_as(ports).items() for part in ("-d", f"{rule},{protocol}")]
    command = ["tshark", "-n", "-r", str(path), *OUT_OF_ORDER, *decode_as, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if "could be dangerous" not in line]
        raise OracleMissing(f"tshark cannot read {path}: {complaints[-1] if complaints else 'it gives no reason'}")
    return done.stdout
