"""AMQP field types: strings, integers and field tables, to and from octets (section 4.2.5)."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from mqproof.dissectors.amqp.tables import FIELD_TYPES
from mqproof.dissectors.errors import Malformed, Unencodable

MAX_DEPTH: Final = 200  # nested tables and arrays; deeper ones are refused instead of exhausting the stack
SYNTAX: Final = "amqp-0-9-1:4.2.6/bad-content"
TABLE_RULE: Final = "amqp-0-9-1:4.2.5.5/field-names"

_FIXED: Final = {
    "b": struct.Struct(">b"),
    "B": struct.Struct(">B"),
    "s": struct.Struct(">h"),
    "u": struct.Struct(">H"),
    "I": struct.Struct(">i"),
    "i": struct.Struct(">I"),
    "l": struct.Struct(">q"),
    "L": struct.Struct(">q"),
    "f": struct.Struct(">f"),
    "d": struct.Struct(">d"),
}
_INT32: Final = range(-(2**31), 2**31)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Field:
    """A table value whose type letter a plain Python value would not bring back."""

    letter: str
    value: Any


def plain(value: Any) -> Any:
    """Return ``value`` with every :class:`Field` in it replaced by what it holds."""
    if isinstance(value, Field):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


class Reader:
    """Reads fields from octets; every read past the end is Malformed, since the frame is already whole."""

    __slots__ = ("data", "end", "position", "rule")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None, rule: str = SYNTAX) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end
        self.rule = rule

    def fail(self, detail: str) -> Malformed:
        """Return the error for the present position."""
        return Malformed(self.position, self.rule, detail, 502)

    def octets(self, count: int) -> bytes:
        """Return the next ``count`` octets. Raises Malformed when there are fewer."""
        stop = self.position + count
        if stop > self.end:
            raise self.fail(f"{count} octets announced, {self.end - self.position} left")
        taken = self.data[self.position : stop]
        self.position = stop
        return taken

    def number(self, layout: struct.Struct) -> Any:
        """Return the next number of this layout."""
        return layout.unpack(self.octets(layout.size))[0]

    def unsigned(self, size: int) -> int:
        """Return the next unsigned integer of ``size`` octets."""
        return int.from_bytes(self.octets(size))

    def shortstr(self) -> str:
        """Return a short string (section 4.2.5.3): UTF-8; octets that are not are kept as surrogate escapes."""
        return self.octets(self.unsigned(1)).decode("utf-8", "surrogateescape")

    def longstr(self) -> bytes:
        """Return a long string: arbitrary octets."""
        return self.octets(self.unsigned(4))

    def timestamp(self) -> datetime | Field:
        """Return a timestamp (64-bit seconds since 1970, section 4.2.5.4)."""
        seconds = self.unsigned(8)
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError, OSError):
            return Field("T", seconds)

    def table(self, depth: int = 0) -> dict[str, Any]:
        """Return a field table (section 4.2.5.5). A name that comes twice keeps its last value."""
        inner = self._nested(depth)
        result: dict[str, Any] = {}
        while inner.position < inner.end:
            name = inner.shortstr()
            result[name] = inner.value(depth + 1)
        return result

    def array(self, depth: int = 0) -> list[Any]:
        """Return a field array."""
        inner = self._nested(depth)
        result = []
        while inner.position < inner.end:
            result.append(inner.value(depth + 1))
        return result

    def _nested(self, depth: int) -> "Reader":
        if depth > MAX_DEPTH:
            raise self.fail(f"tables nested deeper than {MAX_DEPTH}")
        size = self.unsigned(4)
        start = self.position
        if start + size > self.end:
            raise self.fail(f"a table of {size} octets announced, {self.end - start} left")
        self.position = start + size
        return Reader(self.data, start, start + size, TABLE_RULE)

    def value(self, depth: int = 0) -> Any:
        """Return one table value: plain where that would be written back with the same letter, else a Field."""
        letter = chr(self.unsigned(1))
        reader = _READERS.get(letter)
        if reader is not None:
            return reader(self)
        if letter == "F":
            return self.table(depth)
        if letter == "A":
            return self.array(depth)
        self.position -= 1
        raise self.fail(f"unknown field type {letter!r}")


def _read_integer(letter: str) -> Callable[[Reader], Any]:
    def read(reader: Reader) -> Any:
        number = reader.number(_FIXED[letter])
        is_plain = letter == "I" or (letter == "l" and number not in _INT32) or letter == "d"
        return number if is_plain else Field(letter, number)

    return read


def _read_boolean(reader: Reader) -> bool | Field:
    octet = reader.unsigned(1)
    return bool(octet) if octet < 2 else Field("t", octet)


def _read_decimal(reader: Reader) -> Decimal | Field:
    scale = reader.unsigned(1)
    return Decimal(reader.number(_FIXED["I"])).scaleb(-scale)


def _read_longstr(reader: Reader) -> str | bytes:
    octets = reader.longstr()
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets


def _read_nothing(reader: Reader) -> None:
    return None


_READERS: Final[dict[str, Callable[[Reader], Any]]] = {letter: _read_integer(letter) for letter in _FIXED} | {
    "t": _read_boolean,
    "D": _read_decimal,
    "S": _read_longstr,
    "x": lambda reader: Field("x", reader.longstr()),
    "T": Reader.timestamp,
    "V": _read_nothing,
}


def write_shortstr(value: str | bytes) -> bytes:
    """Return a short string of at most 255 octets. Raises Unencodable."""
    octets = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
    if len(octets) > 255:
        raise Unencodable(f"a short string has at most 255 octets, not {len(octets)}")
    return bytes([len(octets)]) + octets


def write_longstr(value: str | bytes) -> bytes:
    """Return a long string."""
    octets = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
    return len(octets).to_bytes(4) + octets


def write_unsigned(value: int, size: int) -> bytes:
    """Return an unsigned integer of ``size`` octets. Raises Unencodable when it does not fit."""
    try:
        return int(value).to_bytes(size)
    except OverflowError:
        raise Unencodable(f"{value} does not fit an unsigned integer of {size} octets") from None


def write_timestamp(value: datetime | int | Field) -> bytes:
    """Return a timestamp: an aware datetime, or seconds since 1970."""
    bare = value.value if isinstance(value, Field) else value
    seconds = int((bare - _EPOCH).total_seconds()) if isinstance(bare, datetime) else int(bare)
    return write_unsigned(seconds, 8)


def write_table(table: Mapping[str, Any]) -> bytes:
    """Return a field table. Raises Unencodable for values that have no type letter."""
    octets = b"".join(write_shortstr(name) + write_value(value) for name, value in table.items())
    return len(octets).to_bytes(4) + octets


def write_array(values: list[Any]) -> bytes:
    """Return a field array."""
    octets = b"".join(write_value(value) for value in values)
    return len(octets).to_bytes(4) + octets


def write_value(value: Any) -> bytes:
    """Return a table value with its type letter. Raises Unencodable."""
    letter = value.letter if isinstance(value, Field) else _letter(value)
    content = value.value if isinstance(value, Field) else value
    if letter not in FIELD_TYPES:
        raise Unencodable(f"{letter!r} is no field type")
    return letter.encode("ascii") + _write_content(letter, content)


def _letter(value: Any) -> str:
    if isinstance(value, bool):
        return "t"
    if isinstance(value, int):
        return "I" if value in _INT32 else "l"
    for kind, letter in _LETTERS:
        if isinstance(value, kind):
            return letter
    raise Unencodable(f"{value!r} has no field type")


_LETTERS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (float, "d"),
    ((str, bytes, bytearray), "S"),
    (type(None), "V"),
    (Mapping, "F"),
    (list, "A"),
    (Decimal, "D"),
    (datetime, "T"),
)


def _write_content(letter: str, value: Any) -> bytes:
    if letter in _FIXED:
        try:
            return _FIXED[letter].pack(value)
        except struct.error as error:
            raise Unencodable(f"{value!r} does not fit field type {letter!r}: {error}") from None
    return _WRITERS[letter](value)


def _write_decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise Unencodable(f"{value} is no finite decimal")
    unscaled = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
    signed = -unscaled if sign else unscaled
    if signed not in _INT32 or -exponent > 255:
        raise Unencodable(f"{value} does not fit a decimal")
    return bytes([max(-exponent, 0)]) + _FIXED["I"].pack(signed)


_WRITERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "t": lambda value: bytes([int(value)]),
    "D": _write_decimal,
    "S": write_longstr,
    "x": write_longstr,
    "A": write_array,
    "T": write_timestamp,
    "F": write_table,
    "V": lambda value: b"",
}
