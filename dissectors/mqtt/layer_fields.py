"""Fields of MQTT packets for scapy: strings behind their length, and properties."""

from typing import Any

from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt.fields import encode_properties, encode_varint, read_varint
from mqproof.dissectors.mqtt.tables import PROPERTIES_BY_ID
from scapy.fields import StrField


class TextField(StrField):
    """A string or binary data behind its length of two octets (sections 1.5.4 and 1.5.6)."""

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """Append length and octets."""
        octets = self.i2m(pkt, val)
        return bytes(s + len(octets).to_bytes(2) + octets)

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Take length and octets off."""
        end = 2 + int.from_bytes(s[:2])
        if len(s) < end:
            raise ValueError(f"{self.name} is longer than the packet")
        return s[end:], self.m2i(pkt, s[2:end])


class PropertiesField(StrField):
    """The properties of 5.0 (section 2.2.2) behind their length: pairs of name and value, octets where unreadable."""

    def any2i(self, pkt: Any, x: Any) -> Any:
        """Take pairs of name and value as well."""
        if isinstance(x, list | tuple):
            octets = encode_properties(x)
            return octets[len(encode_varint(varint(octets)[0])) :]
        return super().any2i(pkt, x)

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """Append length and octets."""
        octets = self.i2m(pkt, val)
        return bytes(s + encode_varint(len(octets)) + octets)

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Take length and octets off; a short packet has none."""
        if not s:
            return s, b""
        length, start = varint(s)
        if len(s) < start + length:
            raise ValueError(f"{self.name} are longer than the packet")
        return s[start + length :], self.m2i(pkt, s[start : start + length])

    def i2h(self, pkt: Any, x: Any) -> Any:
        """Show pairs."""
        try:
            return read_properties(bytes(x or b""))
        except (ValueError, KeyError, IndexError):
            return x

    def i2repr(self, pkt: Any, x: Any) -> str:
        """Show pairs."""
        return repr(self.i2h(pkt, x))


def varint(octets: bytes, at: int = 0) -> tuple[int, int]:
    """Return a variable byte integer and where it ends. Raises ValueError."""
    try:
        found = read_varint(octets, at, len(octets))
    except Malformed as error:
        raise ValueError(str(error)) from None
    if found is None:
        raise ValueError("a variable byte integer is cut off")
    return found


def read_properties(octets: bytes) -> list[tuple[str, Any]]:
    """Return names and values. Raises ValueError, KeyError or IndexError for what cannot be read."""
    found: list[tuple[str, Any]] = []
    at = 0
    while at < len(octets):
        spec = PROPERTIES_BY_ID[octets[at]]
        at += 1
        if spec.type == "varint":
            value, at = varint(octets, at)
            found.append((spec.name, value))
        elif spec.type in ("byte", "two", "four"):
            size = {"byte": 1, "two": 2, "four": 4}[spec.type]
            found.append((spec.name, int.from_bytes(octets[at : at + size])))
            at += size
        else:
            parts = []
            for _ in range(2 if spec.type == "pair" else 1):
                end = at + 2 + int.from_bytes(octets[at : at + 2])
                parts.append(octets[at + 2 : end] if spec.type == "binary" else octets[at + 2 : end].decode())
                at = end
            found.append((spec.name, tuple(parts) if spec.type == "pair" else parts[0]))
    return found
