"""AMQP 0-9-1 for scapy: ``from mqproof.dissectors.amqp.layers import *``, and scapy shows, crafts and sniffs it.

The layers are made from tables.py: one class per method (``AMQPBasicPublish``), the content header with its properties,
body and heartbeat, all inside :class:`AMQP`, a frame. Frames in one segment follow each other as payload, as in
``packet[AMQP:2]``; across segments they are put together by scapy's ``TCPSession``. Importing this imports scapy.
"""

import struct
from itertools import groupby
from keyword import iskeyword
from typing import Any, Final

from mqproof.dissectors.amqp.fields import Reader, write_table
from mqproof.dissectors.amqp.tables import (
    BY_ID,
    FRAME_END,
    FRAME_HEADER_SIZE,
    FRAME_OVERHEAD,
    METHODS,
    PROPERTIES,
    FieldSpec,
    FrameType,
    MethodSpec,
)
from mqproof.dissectors.errors import Malformed
from scapy.fields import (
    BitField,
    ByteEnumField,
    ByteField,
    ConditionalField,
    FlagsField,
    IntField,
    LongField,
    PacketLenField,
    ShortField,
    StrField,
    StrFixedLenField,
    XByteField,
)
from scapy.layers.inet import TCP
from scapy.packet import NoPayload, Packet, Padding, bind_layers

PORT: Final = 5672
_SIZES: Final[dict[str, Any]] = {
    "octet": ByteField,
    "short": ShortField,
    "long": IntField,
    "longlong": LongField,
    "timestamp": LongField,
}


class PrefixedField(StrField):
    """A string behind its length of ``width`` octets (sections 4.2.5.3)."""

    __slots__ = ["width"]

    def __init__(self, name: str, default: bytes = b"", width: int = 1) -> None:
        super().__init__(name, default)
        self.width = width

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """Append length and octets."""
        octets = self.i2m(pkt, val)
        return bytes(s + len(octets).to_bytes(self.width) + octets)

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Take length and octets off."""
        end = self.width + int.from_bytes(s[: self.width])
        if len(s) < end:
            raise ValueError(f"{self.name} is longer than the frame")
        return s[end:], self.m2i(pkt, s[self.width : end])


class TableField(PrefixedField):
    """A field table (section 4.2.5.5): a dict where it can be read, octets where it cannot."""

    def __init__(self, name: str) -> None:
        super().__init__(name, b"", 4)

    def any2i(self, pkt: Any, x: Any) -> Any:
        """Take a dict as well."""
        return write_table(x)[4:] if isinstance(x, dict) else super().any2i(pkt, x)

    def i2h(self, pkt: Any, x: Any) -> Any:
        """Show a dict."""
        octets = bytes(x or b"")
        try:
            return Reader(len(octets).to_bytes(4) + octets).table()
        except Malformed:
            return octets

    def i2repr(self, pkt: Any, x: Any) -> str:
        """Show a dict."""
        return repr(self.i2h(pkt, x))


def _field(spec: FieldSpec) -> Any:
    if spec.type == "table":
        return TableField(spec.key)
    if spec.type in ("shortstr", "longstr"):
        return PrefixedField(spec.key, b"", 1 if spec.type == "shortstr" else 4)
    return _SIZES[spec.type](spec.key, 0)


def _fields(specs: tuple[FieldSpec, ...]) -> list[Any]:
    """Bits that follow each other share octets, the first in the lowest bit (4.2.5.2); scapy counts from above."""
    made: list[Any] = []
    for is_bit, group in groupby(specs, key=lambda spec: spec.type == "bit"):
        if not is_bit:
            made += [_field(spec) for spec in group]
            continue
        names = [f"{spec.key}_" if iskeyword(spec.key) else spec.key for spec in group]
        if len(names) % 8:
            made.append(BitField(f"unused_{names[0]}", 0, 8 - len(names) % 8))
        made += [BitField(name, 0, 1) for name in reversed(names)]
    return made


class AMQPContent(Packet):
    """What stands inside a frame: whatever is left over is padding, so that the end octet is not swallowed."""

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        """Nothing follows inside the frame."""
        return b"", s


class AMQPMethod(AMQPContent):
    """A method; one subclass for each in the table."""

    spec: MethodSpec
    fields_desc = []


def _method_class(spec: MethodSpec) -> type[AMQPMethod]:
    name = "AMQP" + "".join(part.capitalize() for part in spec.name.replace(".", "-").split("-"))
    ids = [ShortField("amqp_class", spec.class_id), ShortField("amqp_method", spec.method_id)]
    body = {"name": f"AMQP {spec.name}", "spec": spec, "fields_desc": [*ids, *_fields(spec.fields)]}
    made = type(name, (AMQPMethod,), {**body, "__doc__": f"The method {spec.name}.", "__module__": __name__})
    globals()[name] = made
    return made


METHOD_LAYERS: Final = {spec.name: _method_class(spec) for spec in METHODS.values()}


class _PropertyFlags(FlagsField):
    """Property flags (section 4.2.6.1): set by themselves for the properties that have a value."""

    def i2m(self, pkt: Any, x: Any) -> int:
        """Return the flags given, else those of the properties that are set."""
        if x is not None:
            return int(x)
        return sum(1 << 15 - i for i, spec in enumerate(PROPERTIES) if spec.key in pkt.fields)


def _is_set(number: int, key: str) -> Any:
    def condition(pkt: Any) -> bool:
        if pkt.property_flags is None:
            return key in pkt.fields
        return bool(int(pkt.property_flags) & 1 << 15 - number)

    return condition


class AMQPHeader(AMQPContent):
    """A content header (section 4.2.6.1)."""

    name = "AMQP content header"
    fields_desc = [
        ShortField("class_id", 60),
        ShortField("weight", 0),
        LongField("body_size", 0),
        _PropertyFlags("property_flags", None, 16, ["continued", "unused", *(s.key for s in reversed(PROPERTIES))]),
        *(ConditionalField(_field(spec), _is_set(number, spec.key)) for number, spec in enumerate(PROPERTIES)),
    ]


class AMQPBody(AMQPContent):
    """A content body (section 4.2.6.2), or the payload of a frame that nothing is known of."""

    name = "AMQP body"
    fields_desc = [StrField("load", b"")]


def _content_class(octets: bytes, frame: Any) -> type[AMQPContent]:
    if frame.type == FrameType.HEADER:
        return AMQPHeader
    spec = BY_ID.get((int.from_bytes(octets[:2]), int.from_bytes(octets[2:4])))
    return METHOD_LAYERS[spec.name] if frame.type == FrameType.METHOD and spec else AMQPBody


def _content(octets: bytes, _parent: Any = None) -> AMQPContent:
    """Dissect a frame's payload (scapy calls the frame ``_parent``); what cannot be read is shown as it is."""
    try:
        return _content_class(octets, _parent)(octets, _parent=_parent)
    except (ValueError, struct.error):
        return AMQPBody(octets, _parent=_parent)


class AMQP(Packet):
    """One frame (section 4.2.3); further frames of the segment are its payload.

    ``type`` and ``size`` follow from ``content`` where they are not given; ``end`` may be any octet.
    """

    name = "AMQP"
    fields_desc = [
        ByteEnumField("type", None, {kind.value: kind.name.lower() for kind in FrameType}),
        ShortField("channel", 0),
        IntField("size", None),
        PacketLenField("content", None, _content, length_from=lambda pkt: pkt.size),  # type: ignore[arg-type]
        XByteField("end", FRAME_END),
    ]

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *_: Any, **__: Any) -> type[Packet]:
        """Tell a protocol header from a frame."""
        return AMQPProtocolHeader if _pkt and _pkt[:4] == b"AMQP" else cls

    def self_build(self) -> bytes:
        """Fill in type and size."""
        content = self.fields.get("content")
        octets = b"" if content is None else bytes(content)
        kind = _type_of(content) if self.type is None else self.type
        size = len(octets) if self.size is None else self.size
        return bytes((kind,)) + int(self.channel).to_bytes(2) + int(size).to_bytes(4) + octets + bytes((self.end,))

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """Another frame follows where there is enough of it."""
        return AMQP if _whole(payload) else Padding

    @classmethod
    def tcp_reassemble(cls, data: bytes, _metadata: dict[str, Any], _session: dict[str, Any]) -> Packet | None:
        """Return what is whole, once a frame is; the rest is kept by the session."""
        return AMQP(data) if _whole(data) else None

    def mysummary(self) -> str:
        """Return a line such as ``AMQP 1 basic.publish``."""
        content = self.content
        name = content.spec.name if isinstance(content, AMQPMethod) else self.sprintf("%AMQP.type%")
        return f"AMQP {self.channel} {name}"


class AMQPProtocolHeader(Packet):
    """The eight octets that open a connection (section 4.2.2)."""

    name = "AMQP protocol header"
    fields_desc = [
        StrFixedLenField("protocol", b"AMQP", 4),
        ByteField("protocol_id", 0),
        ByteField("major", 0),
        ByteField("minor", 9),
        ByteField("revision", 1),
    ]

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """Frames may follow at once."""
        return AMQP if _whole(payload) else Padding

    @classmethod
    def tcp_reassemble(cls, data: bytes, metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:
        """As for frames."""
        return AMQP.tcp_reassemble(data, metadata, session)


def _whole(octets: bytes) -> bool:
    """Return whether a protocol header or a frame begins here and is all there."""
    if octets[:4] == b"AMQP":
        return len(octets) >= 8
    size = int.from_bytes(octets[3:FRAME_HEADER_SIZE])
    return len(octets) >= FRAME_OVERHEAD and len(octets) >= size + FRAME_OVERHEAD


def _type_of(content: Any) -> int:
    if isinstance(content, AMQPMethod):
        return FrameType.METHOD
    if isinstance(content, AMQPHeader):
        return FrameType.HEADER
    return FrameType.HEARTBEAT if content is None or isinstance(content, NoPayload) else FrameType.BODY


bind_layers(TCP, AMQP, sport=PORT)
bind_layers(TCP, AMQP, dport=PORT)
bind_layers(TCP, AMQP, sport=PORT, dport=PORT)

__all__ = [
    "AMQP",
    "METHOD_LAYERS",
    "AMQPBody",
    "AMQPHeader",
    "AMQPMethod",
    "AMQPProtocolHeader",
]
__all__ += [layer.__name__ for layer in METHOD_LAYERS.values()]
