"""MQTT data representation: strings, integers and properties, to and from octets (sections 1.5 and 2.2.2)."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from mqproof.dissectors.errors import Malformed, Unencodable
from mqproof.dissectors.mqtt.tables import (
    MAX_STRING,
    MAX_VARINT,
    PROPERTIES,
    PROPERTIES_BY_ID,
    PropertySpec,
    ReasonCode,
    Version,
)

Properties = tuple[tuple[str, Any], ...]

# Rule ids by what they say, for each version (3.1 is read by the rules of 3.1.1).
_RULES: Final = {
    "flags": ("MQTT-2.2.2-2", "MQTT-2.1.3-1"),
    "utf8": ("MQTT-1.5.3-1", "MQTT-1.5.4-1"),
    "nul": ("MQTT-1.5.3-2", "MQTT-1.5.4-2"),
    "packet id": ("MQTT-2.3.1-1", "MQTT-2.2.1-3"),
    "malformed": ("MQTT-4.8.0-1", "MQTT-4.13.1-1"),
    "protocol name": ("MQTT-3.1.2-1", "MQTT-3.1.2-1"),
    "protocol version": ("MQTT-3.1.2-2", "MQTT-3.1.2-2"),
    "reserved connect flag": ("MQTT-3.1.2-3", "MQTT-3.1.2-3"),
    "will qos": ("MQTT-3.1.2-14", "MQTT-3.1.2-12"),
    "will flags": ("MQTT-3.1.2-11", "MQTT-3.1.2-11"),
    "password flag": ("MQTT-3.1.2-22", "MQTT-3.1.2-19"),
    "qos": ("MQTT-3.3.1-4", "MQTT-3.3.1-4"),
    "dup at qos 0": ("MQTT-3.3.1-2", "MQTT-3.3.1-2"),
    "no filter": ("MQTT-3.8.3-3", "MQTT-3.8.3-2"),
    "options": ("MQTT-3.8.3-4", "MQTT-3.8.3-5"),
    "no unsubscribe filter": ("MQTT-3.10.3-2", "MQTT-3.10.3-2"),
    "connack flags": ("MQTT-3.2.2-1", "MQTT-3.2.2-1"),
}


def rule(name: str, version: Version) -> str:
    """Return the qualified id of the statement that ``name`` stands for in this version."""
    older, newer = _RULES[name]
    return f"mqtt-5.0:{newer}" if version is Version.V5_0 else f"mqtt-3.1.1:{older}"


def read_varint(data: bytes | bytearray, position: int, end: int) -> tuple[int, int] | None:
    """Return a Variable Byte Integer and the position behind it; None where it is cut off.

    Raises Malformed (offset 1: it follows the first octet of a fixed header) when a fifth octet would be needed. Longer
    than minimal encodings are read: what a receiver does with them is not laid down (section 1.5.5).
    """
    value = 0
    for index in range(4):
        if position + index >= end:
            return None
        octet = data[position + index]
        value |= (octet & 0x7F) << 7 * index
        if not octet & 0x80:
            return value, position + index + 1
    raise Malformed(1, "mqtt-5.0:MQTT-4.13.1-1", "a variable byte integer of more than four octets", 0x81)


class Reader:
    """Reads the fields of one whole packet; reading past its end is Malformed."""

    __slots__ = ("data", "end", "position", "version")

    def __init__(self, data: bytes, position: int, version: Version) -> None:
        self.data = data
        self.position = position
        self.end = len(data)
        self.version = version

    def fail(self, name: str, detail: str, code: int = ReasonCode.MALFORMED_PACKET) -> Malformed:
        """Return the error for the present position; ``name`` is one of the short names of rules."""
        return Malformed(self.position, rule(name, self.version), detail, code)

    @property
    def left(self) -> int:
        """How many octets of the packet have not been read."""
        return self.end - self.position

    def octets(self, count: int) -> bytes:
        """Return the next ``count`` octets."""
        if count > self.left:
            raise self.fail("malformed", f"{count} octets announced, {self.left} left")
        self.position += count
        return self.data[self.position - count : self.position]

    def unsigned(self, size: int) -> int:
        """Return the next integer of ``size`` octets."""
        return int.from_bytes(self.octets(size))

    def varint(self) -> int:
        """Return the next Variable Byte Integer."""
        try:
            result = read_varint(self.data, self.position, self.end)
        except Malformed as error:
            raise self.fail("malformed", error.detail) from None
        if result is None:
            raise self.fail("malformed", "a variable byte integer is cut off")
        value, self.position = result
        return value

    def binary(self) -> bytes:
        """Return the next Binary Data."""
        return self.octets(self.unsigned(2))

    def string(self) -> str:
        """Return the next UTF-8 Encoded String. Raises Malformed for ill-formed UTF-8, surrogates and U+0000."""
        octets = self.binary()
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.fail("utf8", f"a string is not UTF-8: {error.reason}") from None
        if "\0" in text:
            raise self.fail("nul", "a string contains U+0000")
        return text

    def packet_id(self) -> int:
        """Return a packet identifier. Raises Malformed when it is 0 (section 2.2.1)."""
        number = self.unsigned(2)
        if number == 0:
            raise self.fail("packet id", "packet identifier 0", ReasonCode.PROTOCOL_ERROR)
        return number

    def finish(self) -> None:
        """Raise Malformed unless the packet ends here."""
        if self.left:
            raise self.fail("malformed", f"{self.left} octets after the last field")

    def properties(self, packet: str) -> Properties:
        """Return the properties of ``packet`` (a packet type's name or ``WILL``); empty before MQTT 5.0.

        Raises Malformed for unknown, misplaced, repeated and out-of-range properties.
        """
        if self.version is not Version.V5_0:
            return ()
        length = self.varint()
        if length > self.left:
            raise self.fail("malformed", f"{length} octets of properties announced, {self.left} left")
        stop, whole = self.position + length, self.end
        self.end = stop
        found: list[tuple[str, Any]] = []
        while self.position < stop:
            found.append(self._property(packet, found))
        self.end = whole
        return tuple(found)

    def _property(self, packet: str, before: list[tuple[str, Any]]) -> tuple[str, Any]:
        number = self.varint()
        spec = PROPERTIES_BY_ID.get(number)
        if spec is None:
            raise self.fail("malformed", f"unknown property {number:#04x}")
        if packet not in spec.packets:
            raise self.fail("malformed", f"property {spec.name} in {packet}", ReasonCode.PROTOCOL_ERROR)
        value = _READ[spec.type](self)
        repeatable = spec.repeatable or (spec.name == "subscription_identifier" and packet == "PUBLISH")
        if not repeatable and any(name == spec.name for name, _ in before):
            raise self.fail("malformed", f"property {spec.name} comes twice", ReasonCode.PROTOCOL_ERROR)
        if isinstance(value, int) and not _in_range(spec, value):
            raise self.fail("malformed", f"property {spec.name} is {value}", _range_code(spec))
        return spec.name, value


def _in_range(spec: PropertySpec, value: int) -> bool:
    return spec.lowest <= value and (spec.highest is None or value <= spec.highest)


def _range_code(spec: PropertySpec) -> int:
    alias = spec.name == "topic_alias"  # section 3.3.2.3.4
    return ReasonCode.TOPIC_ALIAS_INVALID if alias else ReasonCode.PROTOCOL_ERROR


_READ: Final[dict[str, Callable[[Reader], Any]]] = {
    "byte": lambda reader: reader.unsigned(1),
    "two": lambda reader: reader.unsigned(2),
    "four": lambda reader: reader.unsigned(4),
    "varint": Reader.varint,
    "string": Reader.string,
    "binary": Reader.binary,
    "pair": lambda reader: (reader.string(), reader.string()),
}


def encode_unsigned(value: int, size: int) -> bytes:
    """Return an unsigned integer of ``size`` octets. Raises Unencodable when it does not fit."""
    try:
        return int(value).to_bytes(size)
    except OverflowError:
        raise Unencodable(f"{value} does not fit {size} octets") from None


def encode_varint(value: int, width: int | None = None) -> bytes:
    """Return a Variable Byte Integer; ``width`` (1 to 5 octets) forces a longer form than needed, which is illegal.

    Raises Unencodable when the value is too large for four octets, or for ``width``.
    """
    if not 0 <= value <= MAX_VARINT:
        raise Unencodable(f"{value} does not fit a variable byte integer")
    octets = bytearray()
    while True:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
        if not value and (width is None or len(octets) >= width):
            break
    if width is not None and len(octets) > width:
        raise Unencodable(f"the value needs more than {width} octets")
    octets[-1] &= 0x7F
    return bytes(octets)


def encode_binary(value: bytes) -> bytes:
    """Return Binary Data of at most 65,535 octets. Raises Unencodable."""
    if len(value) > MAX_STRING:
        raise Unencodable(f"{len(value)} octets do not fit a field of at most {MAX_STRING}")
    return len(value).to_bytes(2) + value


def encode_string(value: str) -> bytes:
    """Return a UTF-8 Encoded String. Octets that are no UTF-8 can be written on purpose, as surrogate escapes."""
    return encode_binary(value.encode("utf-8", "surrogateescape"))


_WRITE: Final[dict[str, Callable[[Any], bytes]]] = {
    "byte": lambda value: encode_unsigned(value, 1),
    "two": lambda value: encode_unsigned(value, 2),
    "four": lambda value: encode_unsigned(value, 4),
    "varint": encode_varint,
    "string": encode_string,
    "binary": encode_binary,
    "pair": lambda value: encode_string(value[0]) + encode_string(value[1]),
}


def encode_properties(properties: Iterable[tuple[str, Any]]) -> bytes:
    """Return properties with their length, in the order given; nothing is checked, so illegal ones can be written.

    Raises Unencodable for a name that no property has.
    """
    octets = bytearray()
    for name, value in properties:
        spec = PROPERTIES.get(name)
        if spec is None:
            raise Unencodable(f"no property is called {name!r}")
        octets += encode_varint(spec.id) + _WRITE[spec.type](value)
    return encode_varint(len(octets)) + bytes(octets)


def prop(properties: Properties, name: str) -> Any:
    """Return the first value of the property, or None."""
    return next((value for key, value in properties if key == name), None)
