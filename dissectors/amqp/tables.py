"""AMQP 0-9-1 as tables: classes, methods, their fields, content properties, reply codes, frame types.

Ids, names and types are the specification's (amqp0-9-1.xml; the widely implemented extensions are marked). Everything
that reads or writes AMQP takes them from here; nothing is written down twice.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"  # section 4.2.2
FRAME_END: Final = 0xCE  # section 4.2.3
FRAME_HEADER_SIZE: Final = 7  # type octet, channel short, size long; section 4.2.3
FRAME_OVERHEAD: Final = 8  # header and end octet
FRAME_MIN_SIZE: Final = 4096  # constant frame-min-size


class FrameType(IntEnum):
    """Section 4.2.3. Heartbeats are 8, as in the XML's constants; the prose of 4.2.3 says 4, which nobody sends."""

    METHOD = 1
    HEADER = 2
    BODY = 3
    HEARTBEAT = 8


CLIENT: Final = frozenset({"client"})
SERVER: Final = frozenset({"server"})
BOTH: Final = CLIENT | SERVER


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One argument of a method or one content property: ``name`` as the specification spells it, ``key`` in Python."""

    name: str
    type: str

    @property
    def key(self) -> str:
        """The name as a Python identifier: dashes become underscores."""
        return self.name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """One method: ids, who receives it, its fields in wire order, the methods that answer it."""

    name: str
    class_id: int
    method_id: int
    received_by: frozenset[str]
    fields: tuple[FieldSpec, ...]
    replies: tuple[str, ...]
    synchronous: bool
    content: bool
    extension: bool

    @property
    def class_name(self) -> str:
        """The class's name, such as ``queue``."""
        return self.name.partition(".")[0]


def _fields(text: str) -> tuple[FieldSpec, ...]:
    return tuple(FieldSpec(*pair.split(":")) for pair in text.split())


def _method(
    name: str,
    class_id: int,
    method_id: int,
    received_by: frozenset[str],
    fields: str,
    *,
    replies: tuple[str, ...] = (),
    synchronous: bool = False,
    content: bool = False,
    extension: bool = False,
) -> MethodSpec:
    return MethodSpec(
        name, class_id, method_id, received_by, _fields(fields), replies, synchronous, content, extension
    )


_ALL: Final = (
    _method(
        "connection.start", 10, 10, CLIENT,
        "version-major:octet version-minor:octet server-properties:table mechanisms:longstr "
        "locales:longstr",
        replies=("connection.start-ok",), synchronous=True,
    ),
    _method(
        "connection.start-ok", 10, 11, SERVER,
        "client-properties:table mechanism:shortstr response:longstr locale:shortstr",
        synchronous=True,
    ),
    _method(
        "connection.secure", 10, 20, CLIENT,
        "challenge:longstr",
        replies=("connection.secure-ok",), synchronous=True,
    ),
    _method("connection.secure-ok", 10, 21, SERVER, "response:longstr", synchronous=True),
    _method(
        "connection.tune", 10, 30, CLIENT,
        "channel-max:short frame-max:long heartbeat:short",
        replies=("connection.tune-ok",), synchronous=True,
    ),
    _method(
        "connection.tune-ok", 10, 31, SERVER,
        "channel-max:short frame-max:long heartbeat:short",
        synchronous=True,
    ),
    _method(
        "connection.open", 10, 40, SERVER,
        "virtual-host:shortstr reserved-1:shortstr reserved-2:bit",
        replies=("connection.open-ok",), synchronous=True,
    ),
    _method("connection.open-ok", 10, 41, CLIENT, "reserved-1:shortstr", synchronous=True),
    _method(
        "connection.close", 10, 50, BOTH,
        "reply-code:short reply-text:shortstr class-id:short method-id:short",
        replies=("connection.close-ok",), synchronous=True,
    ),
    _method("connection.close-ok", 10, 51, BOTH, "", synchronous=True),
    _method("connection.blocked", 10, 60, BOTH, "reason:shortstr", extension=True),
    _method("connection.unblocked", 10, 61, BOTH, "", extension=True),
    _method(
        "connection.update-secret", 10, 70, CLIENT,
        "new-secret:longstr reason:shortstr",
        replies=("connection.update-secret-ok",), synchronous=True, extension=True,
    ),
    _method("connection.update-secret-ok", 10, 71, SERVER, "", synchronous=True, extension=True),
    _method("channel.open", 20, 10, SERVER, "reserved-1:shortstr", replies=("channel.open-ok",), synchronous=True),
    _method("channel.open-ok", 20, 11, CLIENT, "reserved-1:longstr", synchronous=True),
    _method("channel.flow", 20, 20, BOTH, "active:bit", replies=("channel.flow-ok",), synchronous=True),
    _method("channel.flow-ok", 20, 21, BOTH, "active:bit"),
    _method(
        "channel.close", 20, 40, BOTH,
        "reply-code:short reply-text:shortstr class-id:short method-id:short",
        replies=("channel.close-ok",), synchronous=True,
    ),
    _method("channel.close-ok", 20, 41, BOTH, "", synchronous=True),
    _method(
        "exchange.declare", 40, 10, SERVER,
        "reserved-1:short exchange:shortstr type:shortstr passive:bit durable:bit auto-delete:bit "
        "internal:bit no-wait:bit arguments:table",
        replies=("exchange.declare-ok",), synchronous=True,
    ),
    _method("exchange.declare-ok", 40, 11, CLIENT, "", synchronous=True),
    _method(
        "exchange.delete", 40, 20, SERVER,
        "reserved-1:short exchange:shortstr if-unused:bit no-wait:bit",
        replies=("exchange.delete-ok",), synchronous=True,
    ),
    _method("exchange.delete-ok", 40, 21, CLIENT, "", synchronous=True),
    _method(
        "exchange.bind", 40, 30, SERVER,
        "reserved-1:short destination:shortstr source:shortstr routing-key:shortstr no-wait:bit "
        "arguments:table",
        replies=("exchange.bind-ok",), synchronous=True, extension=True,
    ),
    _method("exchange.bind-ok", 40, 31, CLIENT, "", synchronous=True, extension=True),
    _method(
        "exchange.unbind", 40, 40, SERVER,
        "reserved-1:short destination:shortstr source:shortstr routing-key:shortstr no-wait:bit "
        "arguments:table",
        replies=("exchange.unbind-ok",), synchronous=True, extension=True,
    ),
    _method("exchange.unbind-ok", 40, 51, CLIENT, "", synchronous=True, extension=True),
    _method(
        "queue.declare", 50, 10, SERVER,
        "reserved-1:short queue:shortstr passive:bit durable:bit exclusive:bit auto-delete:bit "
        "no-wait:bit arguments:table",
        replies=("queue.declare-ok",), synchronous=True,
    ),
    _method(
        "queue.declare-ok", 50, 11, CLIENT,
        "queue:shortstr message-count:long consumer-count:long",
        synchronous=True,
    ),
    _method(
        "queue.bind", 50, 20, SERVER,
        "reserved-1:short queue:shortstr exchange:shortstr routing-key:shortstr no-wait:bit "
        "arguments:table",
        replies=("queue.bind-ok",), synchronous=True,
    ),
    _method("queue.bind-ok", 50, 21, CLIENT, "", synchronous=True),
    _method(
        "queue.unbind", 50, 50, SERVER,
        "reserved-1:short queue:shortstr exchange:shortstr routing-key:shortstr arguments:table",
        replies=("queue.unbind-ok",), synchronous=True,
    ),
    _method("queue.unbind-ok", 50, 51, CLIENT, "", synchronous=True),
    _method(
        "queue.purge", 50, 30, SERVER,
        "reserved-1:short queue:shortstr no-wait:bit",
        replies=("queue.purge-ok",), synchronous=True,
    ),
    _method("queue.purge-ok", 50, 31, CLIENT, "message-count:long", synchronous=True),
    _method(
        "queue.delete", 50, 40, SERVER,
        "reserved-1:short queue:shortstr if-unused:bit if-empty:bit no-wait:bit",
        replies=("queue.delete-ok",), synchronous=True,
    ),
    _method("queue.delete-ok", 50, 41, CLIENT, "message-count:long", synchronous=True),
    _method(
        "basic.qos", 60, 10, SERVER,
        "prefetch-size:long prefetch-count:short global:bit",
        replies=("basic.qos-ok",), synchronous=True,
    ),
    _method("basic.qos-ok", 60, 11, CLIENT, "", synchronous=True),
    _method(
        "basic.consume", 60, 20, SERVER,
        "reserved-1:short queue:shortstr consumer-tag:shortstr no-local:bit no-ack:bit exclusive:bit "
        "no-wait:bit arguments:table",
        replies=("basic.consume-ok",), synchronous=True,
    ),
    _method("basic.consume-ok", 60, 21, CLIENT, "consumer-tag:shortstr", synchronous=True),
    _method(
        "basic.cancel", 60, 30, BOTH,
        "consumer-tag:shortstr no-wait:bit",
        replies=("basic.cancel-ok",), synchronous=True,
    ),
    _method("basic.cancel-ok", 60, 31, BOTH, "consumer-tag:shortstr", synchronous=True),
    _method(
        "basic.publish", 60, 40, SERVER,
        "reserved-1:short exchange:shortstr routing-key:shortstr mandatory:bit immediate:bit",
        content=True,
    ),
    _method(
        "basic.return", 60, 50, CLIENT,
        "reply-code:short reply-text:shortstr exchange:shortstr routing-key:shortstr",
        content=True,
    ),
    _method(
        "basic.deliver", 60, 60, CLIENT,
        "consumer-tag:shortstr delivery-tag:longlong redelivered:bit exchange:shortstr "
        "routing-key:shortstr",
        content=True,
    ),
    _method(
        "basic.get", 60, 70, SERVER,
        "reserved-1:short queue:shortstr no-ack:bit",
        replies=("basic.get-ok", "basic.get-empty"), synchronous=True,
    ),
    _method(
        "basic.get-ok", 60, 71, CLIENT,
        "delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr message-count:long",
        synchronous=True, content=True,
    ),
    _method("basic.get-empty", 60, 72, CLIENT, "reserved-1:shortstr", synchronous=True),
    _method("basic.ack", 60, 80, BOTH, "delivery-tag:longlong multiple:bit"),
    _method("basic.reject", 60, 90, SERVER, "delivery-tag:longlong requeue:bit"),
    _method("basic.recover-async", 60, 100, SERVER, "requeue:bit"),
    _method("basic.recover", 60, 110, SERVER, "requeue:bit"),
    _method("basic.recover-ok", 60, 111, CLIENT, "", synchronous=True),
    _method("basic.nack", 60, 120, BOTH, "delivery-tag:longlong multiple:bit requeue:bit", extension=True),
    _method("tx.select", 90, 10, SERVER, "", replies=("tx.select-ok",), synchronous=True),
    _method("tx.select-ok", 90, 11, CLIENT, "", synchronous=True),
    _method("tx.commit", 90, 20, SERVER, "", replies=("tx.commit-ok",), synchronous=True),
    _method("tx.commit-ok", 90, 21, CLIENT, "", synchronous=True),
    _method("tx.rollback", 90, 30, SERVER, "", replies=("tx.rollback-ok",), synchronous=True),
    _method("tx.rollback-ok", 90, 31, CLIENT, "", synchronous=True),
    _method(
        "confirm.select", 85, 10, SERVER,
        "nowait:bit",
        replies=("confirm.select-ok",), synchronous=True, extension=True,
    ),
    _method("confirm.select-ok", 85, 11, CLIENT, "", synchronous=True, extension=True),
)

METHODS: Final = {spec.name: spec for spec in _ALL}
BY_ID: Final = {(spec.class_id, spec.method_id): spec for spec in _ALL}
CLASS_IDS: Final = {spec.class_name: spec.class_id for spec in _ALL}
CLASS_NAMES: Final = {number: name for name, number in CLASS_IDS.items()}

# Content properties of class basic in flag order: the first has flag bit 15 (section 4.2.6.1).
PROPERTIES: Final = _fields(
    "content-type:shortstr content-encoding:shortstr headers:table delivery-mode:octet priority:octet "
    "correlation-id:shortstr reply-to:shortstr expiration:shortstr message-id:shortstr timestamp:timestamp "
    "type:shortstr user-id:shortstr app-id:shortstr reserved:shortstr"
)


@dataclass(frozen=True, slots=True)
class ReplyCode:
    """A reply code: ``hard`` closes the connection, otherwise the channel; ``None`` where it closes nothing."""

    code: int
    name: str
    hard: bool | None


def _codes(text: str, hard: bool | None) -> dict[int, ReplyCode]:
    pairs = (entry.split(":") for entry in text.split())
    return {int(code): ReplyCode(int(code), name, hard) for code, name in pairs}


REPLY_CODES: Final = (
    _codes("200:reply-success", None)
    | _codes(
        "311:content-too-large 312:no-route 313:no-consumers 403:access-refused 404:not-found 405:resource-locked "
        "406:precondition-failed",
        hard=False,
    )
    | _codes(
        "320:connection-forced 402:invalid-path 501:frame-error 502:syntax-error 503:command-invalid "
        "504:channel-error 505:unexpected-frame 506:resource-error 530:not-allowed 540:not-implemented "
        "541:internal-error",
        hard=True,
    )
)

# Field-table value types: letter -> name. The letters are the ones that brokers and clients use; where the text of
# section 4.2.1 differs (it gives U, u, s, L other meanings), these follow the errata that RabbitMQ published, because
# no implementation sends the others.
FIELD_TYPES: Final = {
    "t": "boolean",
    "b": "signed octet",
    "B": "unsigned octet",
    "s": "signed short",
    "u": "unsigned short",
    "I": "signed long",
    "i": "unsigned long",
    "l": "signed long long",
    "L": "signed long long (alternative letter)",
    "f": "float",
    "d": "double",
    "D": "decimal",
    "S": "long string",
    "x": "byte array",
    "A": "array",
    "T": "timestamp",
    "F": "table",
    "V": "void",
}
