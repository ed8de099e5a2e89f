"""Client libraries under gevent: a connection that publishes and waits, and one that hands over what it receives.

pika and paho, one connection for each user and worker; both wait cooperatively because gevent has patched the sockets.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import gevent
import paho.mqtt.client as paho
import pika
from gevent.event import Event
from gevent.queue import Queue
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.base import tls_context
from mqproof.loadtests.engine.amqp import RIGHTS
from mqproof.loadtests.engine.wire import Broken, Declined, Forbidden
from mqproof.loadtests.settings import Settings
from paho.mqtt.enums import CallbackAPIVersion
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NackError,
    UnroutableError,
)

ANSWER = 10.0  # seconds for one answer of the broker
ENDED = "the broker ended the connection"
GOODBYE = 3.0  # seconds for closing a connection
FAILURES = (Broken, AMQPError, OSError, ValueError)  # of a connection; ValueError: paho's, of what is not open

Handle = Callable[[bytes, bool], None]  # payload, redelivered


class Refused(Exception):
    """The broker said that it would not take a message."""


def told(error: BaseException) -> Broken:
    """Return what a client library's error means, in words that have no class names in them."""
    if isinstance(error, Broken):
        return error
    if isinstance(error, (ChannelClosedByBroker, ConnectionClosedByBroker)):
        kind = Forbidden if error.reply_code in RIGHTS else Declined
        return kind(f"the broker says {error.reply_code} {error.reply_text}")
    inner = next((each.exception for each in error.args if hasattr(each, "exception")), error)
    return Broken(getattr(inner, "strerror", None) or str(inner) or type(inner).__name__)


def give_up(link: "Link") -> None:
    """Close a connection that may be broken, or whose broker does not answer."""
    with suppress(*FAILURES), gevent.Timeout(GOODBYE, False):
        link.close()


class Link(Protocol):
    """A connection of a user or a worker."""

    def publish(self, payload: bytes) -> bool:
        """Publish; return whether the broker confirmed it (False where no confirm was asked for). Raises Refused."""

    def work(self, handle: Handle) -> None:
        """Hand over tasks, one at a time, until the connection is closed."""

    def close(self) -> None:
        """Close the connection; harmless when that has happened before."""


class AmqpLink:
    """A pika connection to one queue, through the default exchange."""

    def __init__(self, settings: Settings, queue: str) -> None:
        target = settings.target
        self._queue = queue
        self._confirms = settings.confirm
        self._closing = False
        self._connection = pika.BlockingConnection(_parameters(target))
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=settings.prefetch)
        if settings.confirm:
            self._channel.confirm_delivery()

    def declare(self) -> None:
        """Declare the queue. It goes with its last consumer, so that nothing stays even when we are killed."""
        self._channel.queue_declare(self._queue, auto_delete=True)

    def publish(self, payload: bytes) -> bool:
        """Publish with the mandatory flag; with confirms, return when the broker has taken it."""
        try:
            self._channel.basic_publish("", self._queue, payload, mandatory=self._confirms)
        except (NackError, UnroutableError) as error:
            raise Refused(type(error).__name__) from None
        return self._confirms

    def work(self, handle: Handle) -> None:
        """Take tasks one at a time, acknowledging each when it is done."""
        tasks = self._channel.consume(self._queue, inactivity_timeout=0.1)
        for method, _, body in tasks:
            if self._closing:
                break
            if method is not None:
                handle(body, method.redelivered)
                self._channel.basic_ack(method.delivery_tag)

    def close(self) -> None:
        """Close the connection."""
        self._closing = True
        if self._connection.is_open:
            self._connection.close()

    def ask_to_stop(self) -> None:
        """Make ``work`` return soon."""
        self._closing = True

    def delete(self) -> None:
        """Delete the queue."""
        self._channel.queue_delete(self._queue)


class MqttLink:
    """A paho connection to one topic."""

    def __init__(self, settings: Settings, topic: str, client_id: str) -> None:
        target = settings.target
        self._topic, self._qos = topic, settings.qos
        self._tasks: Queue[bytes | Broken | None] = Queue()
        self._answered = Event()
        self._is_open = True
        self._codes: list[Any] = []
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv311, reconnect_on_failure=False
        )  # a new connection would have no subscription
        if target.user is not None:
            self._client.username_pw_set(target.user, target.password)
        if target.tls is not None:
            self._client.tls_set_context(tls_context(target))
        self._client.on_connect = lambda *given: self._answer([given[3]])
        self._client.on_subscribe = lambda *given: self._answer(given[3])
        self._client.on_disconnect = lambda *given: self._end()
        self._client.on_message = lambda client, data, message: self._tasks.put(message.payload)
        self._client.connect(target.host, target.port, keepalive=60)
        self._client.loop_start()
        self._await("CONNECT")

    def publish(self, payload: bytes) -> bool:
        """Publish; from QoS 1 on, return when the handshake is done."""
        info = self._client.publish(self._topic, payload, self._qos)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise ConnectionError(paho.error_string(info.rc))
        info.wait_for_publish(ANSWER)
        if not info.is_published():
            raise TimeoutError(f"no acknowledgement within {ANSWER:.0f} s")
        return self._qos > 0

    def subscribe(self) -> None:
        """Subscribe to the topic."""
        self._answered.clear()
        self._client.subscribe(self._topic, self._qos)
        self._await("SUBSCRIBE")

    def work(self, handle: Handle) -> None:
        """Take tasks one at a time; several workers may share one connection. Raises Broken when that has ended."""
        while (payload := self._tasks.get()) is not None:
            if isinstance(payload, Broken):
                self._tasks.put(payload)  # for the other workers
                raise payload
            handle(payload, False)

    def ask_to_stop(self) -> None:
        """Make one ``work`` return when the tasks before have been taken."""
        self._tasks.put(None)

    def close(self) -> None:
        """Disconnect and end paho's thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _answer(self, codes: list[Any]) -> None:
        self._codes = codes
        self._answered.set()

    def _end(self) -> None:
        self._is_open = False
        self._tasks.put(Broken(ENDED))
        self._answered.set()

    def _await(self, what: str) -> None:
        if not self._answered.wait(ANSWER):
            raise TimeoutError(f"{what}: no answer within {ANSWER:.0f} s")
        if not self._is_open:
            raise ConnectionError(f"{what}: {ENDED}")
        failures = [code for code in self._codes if code.is_failure]
        if failures:
            raise ConnectionError(f"{what}: {failures[0]}")


def _parameters(target: Target) -> pika.ConnectionParameters:
    tls = pika.SSLOptions(tls_context(target), target.host) if target.tls else None
    return pika.ConnectionParameters(
        target.host,
        target.port,
        target.vhost,
        pika.PlainCredentials(target.user or "guest", target.password or ""),
        ssl_options=tls,
        heartbeat=60,
        blocked_connection_timeout=ANSWER,
        socket_timeout=ANSWER,
        stack_timeout=ANSWER,
    )


def sleep(seconds: float) -> None:
    """Let other users and workers run for so long."""
    gevent.sleep(seconds)
