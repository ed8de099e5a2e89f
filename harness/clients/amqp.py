"""AMQP 0-9-1 as an application sees it: pika, with a deadline on every step and a transcript of every byte.

pika waits for ever for a broker that does not answer, so that each call runs under a timer of the same I/O loop.
Whatever goes wrong in a step raises Blocked; only the line of the test that checks a statement accuses.
"""

import logging
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pika
from mqproof.dissectors.amqp.codec import Decoder, Malformed, Method
from mqproof.dissectors.amqp.tables import BY_ID
from mqproof.harness.patience import patience
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Deviation
from mqproof.harness.wires.amqp_message import Event, Message, masked
from mqproof.harness.wires.amqp_verbs import Things, Verbs
from mqproof.harness.wires.base import Transcript, tls_context
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.select_connection import SelectConnection
from pika.exceptions import AMQPError, NackError, UnroutableError

STEP = 5.0  # seconds for one reply
_PARAMETERS = {"type": "exchange_type", "no_ack": "auto_ack"}  # where pika's names are not the specification's
_PROPERTIES = (
    "content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to",
    "expiration", "message_id", "timestamp", "type", "user_id", "app_id",
)  # fmt: skip

T = TypeVar("T")

logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it would log, a verdict says


class AmqpClient(Verbs):
    """One pika connection with a channel for topology, one for publishing and one for each consumer."""

    def __init__(self, target: Target, things: Things, *, title: str = "AMQP client") -> None:
        """Connect and open a channel. Raises Blocked."""
        self.target = target
        self.things = things
        self.transcript = Transcript(title)
        self._publisher: BlockingChannel | None = None
        with _blocked("connect"):
            self.connection = pika.BlockingConnection(_parameters(target), _impl_class=_recorded(self.transcript))
            self.channel = self._within(self.connection.channel)

    def call(self, name: str, **arguments: Any) -> Event:
        """Call pika's method of that name (``queue.declare``) and return the broker's reply. Raises Blocked."""
        method = getattr(self.channel, name.replace(".", "_"))
        given = {_PARAMETERS.get(key, key): value for key, value in arguments.items()}
        with _blocked(name):
            reply = self._within(lambda: method(**given))
        if not isinstance(reply, tuple):
            return _event(reply)
        return _message(*reply) if reply[0] else Method(0, "basic.get-empty")

    def publish(
        self, exchange: str, key: str = "", body: bytes | None = None, *, mandatory: bool = False, **properties: Any
    ) -> bytes:
        """Publish and return the body once the broker has routed it. Raises Blocked, also when it is nacked."""
        body = self.things.body() if body is None else body
        channel = self._publisher = self._publisher or self._open_publisher()
        made = pika.BasicProperties(**properties)
        with _blocked("basic.publish"):
            self._within(lambda: channel.basic_publish(exchange, key, body, made, mandatory=mandatory))
            if not self.connection.publisher_confirms_supported:
                self._within(channel.tx_commit)
        return body

    def publish_mandatory(self, exchange: str, key: str = "", body: bytes | None = None) -> Message | None:
        """Publish with the mandatory flag; return what came back as unroutable, None when it was routed."""
        try:
            self.publish(exchange, key, body, mandatory=True)
        except Blocked as blocked:
            if not isinstance(blocked.__cause__, UnroutableError):
                raise
            returned = blocked.__cause__.messages[0]
            return _message(returned.method, returned.properties, returned.body)
        return None

    def consume(
        self, queue: str, *, prefetch: int = 0, no_ack: bool = False, exclusive: bool = False, **options: Any
    ) -> "Consumer":
        """Start a consumer on a channel of its own. Raises Blocked."""
        with _blocked("basic.consume"):
            channel = self._within(self.connection.channel)
            if prefetch:
                self._within(lambda: channel.basic_qos(prefetch_count=prefetch))
            consumer = Consumer(self, channel)
            consumer.tag = self._within(
                lambda: channel.basic_consume(
                    queue, consumer.on_message, auto_ack=no_ack, exclusive=exclusive, **options
                )
            )
        return consumer

    def close(self) -> None:
        """Close the connection, politely where that still works."""
        try:
            self._within(self.connection.close)
        except (AMQPError, _Late, OSError):
            self.cut()

    def cut(self) -> None:
        """End the socket without a word, as a crash does."""
        transport = self.connection._impl._transport
        if transport is not None:
            transport.abort()

    def pump(self, done: Callable[[], bool], seconds: float = STEP) -> bool:
        """Serve the connection until ``done``; return whether it was before the deadline."""
        until = time.monotonic() + patience.seconds(seconds)
        with _blocked("waiting"):
            while not done():
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._within(lambda left=left: self.connection.process_data_events(left), seconds)  # type: ignore[misc]
        return True

    def _open_publisher(self) -> BlockingChannel:
        with _blocked("confirm.select or tx.select"):
            channel = self._within(self.connection.channel)
            if self.connection.publisher_confirms_supported:
                self._within(channel.confirm_delivery)
            else:
                self._within(channel.tx_select)
        return channel

    def _within(self, step: Callable[[], T], seconds: float = STEP) -> T:
        """Run ``step`` under a deadline: the timer fires inside the loop that pika waits in, and raises through it."""
        impl = self.connection._impl
        timer = impl._adapter_call_later(patience.seconds(seconds) + 0.5, _raise_late)
        try:
            return step()
        finally:
            impl._adapter_remove_timeout(timer)


class Consumer:
    """A consumer and what it was given. ``tag``: its consumer tag."""

    def __init__(self, client: AmqpClient, channel: BlockingChannel) -> None:
        self.client = client
        self.channel = channel
        self.tag = ""
        self._messages: deque[Message] = deque()

    def on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        """Take a delivery from pika."""
        self._messages.append(_message(method, properties, body))

    def next(self) -> Message:
        """Return the next message. Raises Blocked when none comes."""
        if not self.client.pump(lambda: bool(self._messages)):
            raise Blocked("expected a delivery; got none before the deadline")
        return self._messages.popleft()

    def take(self, number: int) -> list[Message]:
        """Return the next ``number`` messages. Raises Blocked when fewer come."""
        return [self.next() for _ in range(number)]

    def must_take(self, number: int) -> list[Message]:
        """Accuse the broker unless it delivers so many messages; return them."""
        if not self.client.pump(lambda: len(self._messages) >= number):
            raise Deviation(f"{number} deliveries", f"{len(self._messages)} before the deadline")
        return self.take(number)

    def ack(self, message: Message, *, multiple: bool = False) -> None:
        """Acknowledge one message, or all up to it."""
        self.channel.basic_ack(message.delivery_tag, multiple)

    def nack(self, message: Message, *, multiple: bool = False, requeue: bool = True) -> None:
        """Refuse one message, or all up to it."""
        self.channel.basic_nack(message.delivery_tag, multiple, requeue)

    def reject(self, message: Message, *, requeue: bool = True) -> None:
        """Refuse one message."""
        self.channel.basic_reject(message.delivery_tag, requeue)

    def cancel(self) -> None:
        """Stop the consumer. Raises Blocked."""
        with _blocked("basic.cancel"):
            self.client._within(lambda: self.channel.basic_cancel(self.tag))

    def close(self) -> None:
        """Close the consumer's channel. Raises Blocked."""
        with _blocked("channel.close"):
            self.client._within(self.channel.close)


class _Late(Exception):
    """A step's deadline has passed."""


def _raise_late() -> None:
    raise _Late


@contextmanager
def _blocked(step: str) -> Iterator[None]:
    """Turn what pika raises into Blocked."""
    try:
        yield
    except _Late:
        raise Blocked(f"{step}: no answer before the deadline") from None
    except (UnroutableError, NackError) as error:
        raise Blocked(f"{step}: the broker did not take the message ({type(error).__name__})") from error
    except (AMQPError, OSError) as error:
        raise Blocked(f"{step}: {type(error).__name__}: {error}") from error


def _parameters(target: Target) -> pika.ConnectionParameters:
    limit = patience.seconds(STEP)
    parameters = pika.ConnectionParameters(
        host=target.host,
        port=target.port,
        virtual_host=target.vhost,
        credentials=pika.PlainCredentials(target.user or "guest", target.password or ""),
        heartbeat=0,
        socket_timeout=limit,
        stack_timeout=limit,
        blocked_connection_timeout=limit,
    )
    if target.tls:
        context: ssl.SSLContext = tls_context(target)
        parameters.ssl_options = pika.SSLOptions(context, target.host)
    return parameters


def _recorded(transcript: Transcript) -> type[SelectConnection]:
    """Return a connection class that writes both directions to a transcript, decoded by our own codec."""

    class Recorded(SelectConnection):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.decoders = {">": Decoder(), "<": Decoder()}
            super().__init__(*arguments, **options)

        def _adapter_emit_data(self, data: bytes) -> None:
            _note(transcript, ">", self.decoders[">"], data)
            super()._adapter_emit_data(data)

        def _on_data_available(self, data_in: bytes) -> None:
            _note(transcript, "<", self.decoders["<"], data_in)
            super()._on_data_available(data_in)

    return Recorded


def _note(transcript: Transcript, direction: Any, decoder: Decoder, octets: bytes) -> None:
    decoder.feed(octets)
    try:
        while (frame := decoder.next()) is not None:
            transcript.add(direction, *masked(frame))
    except Malformed as error:
        transcript.add("!", b"", str(error))


def _event(reply: Any) -> Method:
    method = reply.method
    spec = BY_ID[divmod(method.INDEX, 65536)]
    return Method(reply.channel_number, spec.name, dict(vars(method)))


def _message(method: Any, properties: Any, body: bytes) -> Message:
    spec = BY_ID[divmod(method.INDEX, 65536)]
    given = {name: getattr(properties, name) for name in _PROPERTIES if getattr(properties, name) is not None}
    return Message(spec.name, 0, dict(vars(method)), given, body)
