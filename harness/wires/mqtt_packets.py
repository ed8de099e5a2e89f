"""Packets as suites name and read them: the specification's names, a line of text for each, and what is masked."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from mqproof.dissectors.mqtt.codec import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    RawPacket,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
    encode,
    packet_name,
)
from mqproof.dissectors.mqtt.tables import Version

CONNECT, CONNACK, PUBLISH = Connect, Connack, Publish
PUBACK, PUBREC, PUBREL, PUBCOMP = Puback, Pubrec, Pubrel, Pubcomp
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = Subscribe, Suback, Unsubscribe, Unsuback
PINGREQ, PINGRESP, DISCONNECT, AUTH = Pingreq, Pingresp, Disconnect, Auth

SHOWN: Final = 60  # octets or characters of a value that people still read
Properties = tuple[tuple[str, Any], ...]


def as_properties(given: Mapping[str, Any] | Properties) -> Properties:
    """Return properties as pairs; a mapping's list stands for a property that is repeated."""
    if not isinstance(given, Mapping):
        return given
    return tuple(
        (name, value) for name, values in given.items() for value in (values if isinstance(values, list) else [values])
    )


def made(kind: type[Any], **values: Any) -> Packet:
    """Return a packet of this kind; ``properties`` may be a mapping."""
    if "properties" in values:
        values["properties"] = as_properties(values["properties"])
    packet: Packet = kind(**values)
    return packet


def masked(packet: Packet) -> Packet:
    """Return the packet without its password, same length."""
    if isinstance(packet, Connect) and packet.password is not None:
        return replace(packet, password=b"*" * len(packet.password))
    return packet


def octets_of(packet: Packet | bytes, version: Version) -> bytes:
    """Return what goes over the wire."""
    return packet if isinstance(packet, bytes) else encode(packet, version)


def describe(packet: Packet | bytes) -> str:
    """Return a packet as one line: its name and the fields that are not at their default."""
    if isinstance(packet, bytes):
        return f"octets {_short(packet.hex(' '))} ({len(packet)})"
    if isinstance(packet, RawPacket):
        return f"first octet {packet.first_byte:#04x}, body {_short(packet.body.hex(' '))} ({len(packet.body)})"
    return " ".join((packet_name(packet), *_values(masked(packet))))


def _values(packet: Any) -> list[str]:
    shown = []
    for field in fields(packet):
        value = getattr(packet, field.name)
        if value != field.default:
            text = f"0x{value:02X}" if field.name == "reason_code" else _short(_plain(value))
            shown.append(f"{field.name}={text}")
    return shown


def _plain(value: Any) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], Subscription):
        return "[" + ", ".join(" ".join(_values(entry)) for entry in value) + "]"
    if isinstance(value, bytes):
        return repr(value[: 4 * SHOWN])  # the rest of a payload would be cut off anyway
    return f"({' '.join(_values(value))})" if isinstance(value, Will) else repr(value)


def _short(text: str) -> str:
    return text if len(text) <= 4 * SHOWN else text[: 4 * SHOWN] + "…"


def is_like(packet: Any, kind: type[Any] | tuple[type[Any], ...], wanted: Mapping[str, Any]) -> bool:
    """Whether the packet is of this kind and has these values; a set stands for any of its members."""
    return isinstance(packet, kind) and all(
        getattr(packet, name) in value if isinstance(value, set | frozenset) else getattr(packet, name) == value
        for name, value in wanted.items()
    )


def wanted_text(kind: type[Any] | tuple[type[Any], ...], wanted: Mapping[str, Any]) -> str:
    """Return in words what :func:`is_like` looks for."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    name = " or ".join(each.__name__.upper() for each in kinds)
    return " ".join((name, *(f"{key}={_short(repr(value))}" for key, value in wanted.items())))
