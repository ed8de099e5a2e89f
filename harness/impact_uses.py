"""Which features of a protocol an application uses, told from what it says and gets on the wire.

A use has a name, as ``impact_features.toml`` maps it to statements, and a detail: the value that was used.
"""

from collections.abc import Iterator
from typing import Any, Final

from mqproof.dissectors.amqp.codec import Body, ContentHeader, Heartbeat, Method, ProtocolHeader, plain
from mqproof.dissectors.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Publish,
    Subscribe,
    Unsubscribe,
    packet_name,
)
from mqproof.harness.impact_traffic import Said
from mqproof.harness.printable import printable

Use = tuple[str, str]  # name, detail
PERSISTENT: Final = 2  # delivery-mode, AMQP 0-9-1 class basic
DIRECT_REPLY: Final = "amq.rabbitmq.reply-to"
SHORT_ID: Final = 23  # octets that every server must take, MQTT section 3.1.3.1
SIMPLE_FLAGS: Final = ("no_ack", "multiple", "mandatory", "immediate", "if_unused", "if_empty", "requeue", "global")
ROUTING: Final = ("exchange.declare", "exchange.bind", "queue.bind", "basic.publish")
PREDECLARED: Final = {  # AMQP 0-9-1 section 3.1.3
    "amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic", "amq.match": "headers",
    "amq.headers": "headers",
}  # fmt: skip
DECLARED_FLAGS: Final = ("passive", "durable", "auto_delete", "exclusive", "internal")
# What may be confidential is named, never shown.
HIDDEN: Final = ("headers", "user_id", "authentication_data", "correlation_data", "correlation_id", "user_property")
DESCRIBING: Final = ("exchange", "queue", "routing_key", "type", "consumer_tag", "reply_code", "prefetch_count")


class Uses:
    """Tells what is used, frame by frame; it remembers of which type an exchange is."""

    def __init__(self) -> None:
        self._types = dict(PREDECLARED)

    def of(self, said: Said) -> Iterator[Use]:
        """Yield what a frame or packet uses."""
        if said.protocol == "mqtt":
            yield from _mqtt(said)
            return
        yield from _amqp(said)
        if isinstance(said.frame, Method) and said.from_client:
            yield from self._exchange(said.frame.name, said.frame.arguments)

    def _exchange(self, name: str, arguments: dict[str, Any]) -> Iterator[Use]:
        if name == "exchange.declare" and not arguments["passive"]:
            self._types[arguments["exchange"]] = arguments["type"]
        for key in ("exchange", "source", "destination") if name in ROUTING else ():
            if exchange := arguments.get(key):
                kind = self._types.get(exchange, "unknown")
                yield f"exchange type {kind}", _described(name, arguments)


def _amqp(said: Said) -> Iterator[Use]:
    match said.frame:
        case ProtocolHeader() if said.from_client:
            yield "connection", "protocol header"
        case Heartbeat():
            yield "heartbeat", "a heartbeat frame"
        case Body():
            yield "body", f"a body frame of {said.octets} octets"
        case ContentHeader():
            yield from _content(said.frame, said.from_client)
        case Method() as method:
            yield from _method(method, said.from_client)


def _method(method: Method, from_client: bool) -> Iterator[Use]:
    arguments, name = method.arguments, method.name
    is_confirm = not from_client and name in ("basic.ack", "basic.nack")
    yield ("publisher confirm" if is_confirm else name), _described(name, arguments)
    if method.channel > 1:
        yield "several channels", f"channel {method.channel}"
    if not from_client:
        yield from _from_broker(name, arguments)
        return
    yield from _tuning(name, arguments)
    for flag in (*SIMPLE_FLAGS, *DECLARED_FLAGS):
        if arguments.get(flag):
            yield f"{name} {flag.replace('_', '-')}", _described(name, arguments)
    if name in ("queue.bind", "queue.unbind", "basic.publish"):
        yield f"{name} to the default exchange" if not arguments["exchange"] else f"{name} to an exchange", _described(
            name, arguments
        )
    if name == "queue.declare" and not arguments["queue"]:
        yield "queue.declare server-named", "queue=''"
    if name in ("basic.consume", "basic.get") and arguments["queue"] == DIRECT_REPLY:
        yield "direct reply-to", f"{name} queue={DIRECT_REPLY}"
    for key in ("prefetch_size", "prefetch_count"):
        if arguments.get(key):
            yield f"{name} {key.replace('_', '-')}", f"{key}={arguments[key]}"
    yield from _table(name, arguments.get("arguments"))


def _table(name: str, table: Any) -> Iterator[Use]:
    for key, value in (table or {}).items():
        shown = plain(value)
        yield f"{name} argument {key}", f"{key}={_short(shown)}"
        if key in ("x-queue-type", "x-match", "x-overflow", "x-dead-letter-strategy"):
            yield f"{name} argument {key}={_short(shown)}", f"{key}={_short(shown)}"


def _tuning(name: str, arguments: dict[str, Any]) -> Iterator[Use]:
    if name == "connection.start-ok":
        yield f"mechanism {arguments['mechanism']}", f"mechanism={arguments['mechanism']}"
        capabilities = plain(arguments["client_properties"]).get("capabilities")
        for key, value in (capabilities if isinstance(capabilities, dict) else {}).items():
            if value is True:
                yield f"client capability {key}", key
    elif name == "connection.tune-ok":
        for key in ("channel_max", "frame_max", "heartbeat"):
            if arguments[key]:
                yield key.replace("_", "-"), f"{key}={arguments[key]}"
    elif name == "connection.open":
        yield "virtual host", f"virtual_host={_short(arguments['virtual_host'])}"


def _from_broker(name: str, arguments: dict[str, Any]) -> Iterator[Use]:
    if name in ("channel.close", "connection.close"):
        yield f"error {arguments['reply_code']}", f"{name} {arguments['reply_code']} {_short(arguments['reply_text'])}"
    if arguments.get("redelivered"):
        yield "redelivered message", _described(name, arguments)


def _content(header: ContentHeader, from_client: bool) -> Iterator[Use]:
    yield "content", f"a body of {header.body_size} octets"
    properties = header.properties
    if not from_client:
        return
    mode = "persistent message" if properties.get("delivery_mode") == PERSISTENT else "transient message"
    yield mode, f"delivery_mode={properties.get('delivery_mode', 'absent')}"
    for key, value in properties.items():
        yield f"property {key.replace('_', '-')}", _pair(key, plain(value))
    for key in properties.get("headers") or {}:
        yield "headers", f"header {_short(key)}"
        if key in ("CC", "BCC"):
            yield f"header {key}", f"header {key}"
    if properties.get("reply_to") == DIRECT_REPLY:
        yield "direct reply-to", f"reply_to={DIRECT_REPLY}"


def _described(name: str, arguments: dict[str, Any]) -> str:
    shown = [f"{key}={_short(arguments[key])}" for key in DESCRIBING if arguments.get(key) not in (None, "", 0)]
    return " ".join([name, *shown])


def _mqtt(said: Said) -> Iterator[Use]:
    packet = said.frame
    yield packet_name(packet), f"{packet_name(packet)} of {said.octets} octets"
    sender = "from the client" if said.from_client else "from the broker"
    for key, value in getattr(packet, "properties", ()):
        yield f"property {key} {sender}", _pair(key, value)
    match packet:
        case Connect():
            yield from _connect(packet)
        case Connack(session_present=True):
            yield "resumed session", "CONNACK session_present=1"
        case Connack(reason_code=code) if code:
            yield "refused connection", f"CONNACK reason_code={code:#04x}"
        case Publish():
            yield from _publish(packet, said.from_client)
        case Subscribe():
            yield from _subscribe(packet)
        case Unsubscribe() if len(packet.filters) > 1:
            yield "several filters in UNSUBSCRIBE", f"{len(packet.filters)} filters"
        case Pingreq():
            yield "keep-alive", "PINGREQ"
        case Disconnect(reason_code=4) if said.from_client:
            yield "DISCONNECT with will", "reason_code=0x04"
        case Disconnect() if not said.from_client:
            yield "DISCONNECT from the broker", f"reason_code={packet.reason_code:#04x}"
        case Auth():
            yield "AUTH", f"reason_code={packet.reason_code:#04x}"


def _connect(packet: Connect) -> Iterator[Use]:
    yield ("clean session" if packet.clean_start else "kept session"), f"clean_start={int(packet.clean_start)}"
    if packet.keep_alive:
        yield "keep-alive", f"keep_alive={packet.keep_alive}"
    if packet.user_name is not None:
        yield "login", "a user name"
    if not packet.client_id:
        yield "empty client id", "client_id=''"
    elif len(packet.client_id.encode()) <= SHORT_ID and packet.client_id.isalnum() and packet.client_id.isascii():
        yield "short client id", f"client_id={packet.client_id}"
    else:
        yield "long client id", f"client_id={_short(packet.client_id)}"
    if packet.will is not None:
        yield "will", f"will topic={_short(packet.will.topic)} qos={packet.will.qos}"
        yield ("retained will" if packet.will.retain else "will not retained"), f"retain={int(packet.will.retain)}"
        for key, value in packet.will.properties:
            yield f"property {key} of the will", _pair(key, value)


def _publish(packet: Publish, from_client: bool) -> Iterator[Use]:
    which = "published" if from_client else "delivered"
    topic = f"topic={_short(packet.topic)}"
    yield f"QoS {packet.qos} {which}", f"{topic} qos={packet.qos}"
    yield which, f"{topic}, a payload of {len(packet.payload)} octets"
    if packet.retain:
        yield f"retained message {which}", f"{topic} retain=1"
        if from_client and not packet.payload:
            yield "retained message cleared", f"{topic} retain=1, an empty payload"
    elif from_client:
        yield "not retained message published", topic
    if packet.dup:
        yield f"DUP {which}", f"{topic} packet_id={packet.packet_id}"
    if packet.topic.startswith("$"):
        yield "topic with a dollar sign", topic
    if not packet.topic.isascii():
        yield "topic beyond ASCII", topic


def _subscribe(packet: Subscribe) -> Iterator[Use]:
    if len(packet.subscriptions) > 1:
        yield "several filters in SUBSCRIBE", f"{len(packet.subscriptions)} filters"
    for entry in packet.subscriptions:
        shown = f"filter={_short(entry.filter)} qos={entry.qos}"
        yield f"subscription with QoS {entry.qos}", shown
        if entry.filter.startswith("$share/"):
            yield "shared subscription", shown
        if set(entry.filter) & set("+#"):
            yield "wildcard subscription", shown
        if entry.filter[:1] in "+#":
            yield "leading wildcard", shown
        if not entry.filter.isascii():
            yield "topic beyond ASCII", shown
        if entry.no_local:
            yield "no local", shown
        kept = "retain as published" if entry.retain_as_published else "retain not as published"
        yield kept, shown
        yield f"retain handling {entry.retain_handling}", shown


def _pair(key: str, value: Any) -> str:
    return f"{key} is set" if key in HIDDEN else f"{key}={_short(value)}"


def _short(value: Any) -> str:
    """Return a value from a capture on one line; control characters are shown as escapes."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    text = printable(text)
    return text if len(text) <= 60 else text[:59] + "…"
