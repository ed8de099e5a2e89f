"""What a test says to an AMQP broker, in the specification's words, whatever carries it: a wire or a client library.

A failed step raises Blocked: only the line of the test that checks a statement accuses.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count
from typing import Any

from mqproof.harness.patience import patience
from mqproof.harness.verdicts import Blocked
from mqproof.harness.wires.amqp_message import Event, Message

FENCE = b"mqproof-fence:"
TOKEN = b"mqproof-body:"
_HEADERS_EXCHANGES = ("amq.match", "amq.headers")


class Things:
    """The names of one test: what it made, so that it can be removed, and which message bodies are its own."""

    def __init__(self, names: Callable[[str], str]) -> None:
        self._names = names
        self._numbers = count(1)
        self._prefix = TOKEN + names("body").encode() + b":"
        self.queues: list[str] = []
        self.exchanges: list[str] = []
        self.types: dict[str, str] = dict.fromkeys(_HEADERS_EXCHANGES, "headers")
        self.routes: dict[str, str] = {}  # queue -> the exchange that its messages are expected from

    def queue(self, *, remove: bool = True) -> str:
        """Return a new queue name; what is declared under it will be removed, unless it goes with its connection."""
        name = self._names("queue")
        if remove:
            self.queues.append(name)
        return name

    def exchange(self) -> str:
        """Return a new exchange name; what is declared under it will be removed."""
        self.exchanges.append(self._names("exchange"))
        return self.exchanges[-1]

    def absent(self, kind: str = "absent") -> str:
        """Return a name under which nothing exists."""
        return self._names(kind)

    def body(self) -> bytes:
        """Return a message body that no other test uses."""
        return self._prefix + str(next(self._numbers)).encode()

    def fence(self) -> bytes:
        """Return the body of a new fence."""
        return FENCE + self.body()

    def is_foreign(self, message: Message) -> bool:
        """Whether a message belongs to another test or is a fence: shared exchanges (amq.*) carry those as well."""
        if message.body.startswith(FENCE):
            return True
        return message.body.startswith(TOKEN) and not message.body.startswith(self._prefix)


class Verbs(ABC):
    """Declares, binds, publishes, drains. ``call`` and ``publish`` are what a wire and a client do differently."""

    things: Things

    @abstractmethod
    def call(self, name: str, **arguments: Any) -> Event:
        """Send a synchronous method and return what answers it. Raises Blocked when something else comes."""

    @abstractmethod
    def publish(
        self, exchange: str, key: str = "", body: bytes | None = None, *, mandatory: bool = False, **properties: Any
    ) -> bytes:
        """Publish, return the body when the broker has routed it (by confirm, else transaction, else a round trip)."""

    def exchange(self, type_: str = "direct", *, name: str = "", **options: Any) -> str:
        """Declare an exchange and return its name; it is removed after the test."""
        name = name or self.things.exchange()
        self.call("exchange.declare", exchange=name, type=type_, **options)
        self.things.types[name] = type_
        return name

    def queue(
        self,
        *keys: str,
        exchange: str = "",
        name: str = "",
        shared: bool = False,
        bind_arguments: dict[str, Any] | None = None,
        **options: Any,
    ) -> str:
        """Declare a queue, bind it to ``exchange`` by each key, and return its name.

        It is exclusive to this connection; ``shared=True`` makes it durable and removes it after the test.
        """
        options = ({"durable": True} if shared else {"exclusive": True}) | options
        name = name or self.things.queue(remove=not options.get("exclusive"))
        self.call("queue.declare", queue=name, **options)
        for key in keys or ([""] if bind_arguments or exchange else []):
            self.bind(name, exchange, key, bind_arguments)
        return name

    def bind(self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None) -> None:
        """Bind a queue; drain() will raise its fence through this exchange."""
        self.call("queue.bind", queue=queue, exchange=exchange, routing_key=key, arguments=arguments or {})
        self.things.routes[queue] = exchange

    def unbind(self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None) -> None:
        """Unbind a queue."""
        self.call("queue.unbind", queue=queue, exchange=exchange, routing_key=key, arguments=arguments or {})

    def link(self, source: str, destination: str, key: str = "", arguments: dict[str, Any] | None = None) -> None:
        """Bind an exchange to an exchange: messages go from ``source`` on to ``destination``."""
        self.call(
            "exchange.bind", destination=destination, source=source, routing_key=key, arguments=arguments or {}
        )

    def unlink(self, source: str, destination: str, key: str = "", arguments: dict[str, Any] | None = None) -> None:
        """Remove an exchange-to-exchange binding."""
        self.call(
            "exchange.unbind", destination=destination, source=source, routing_key=key, arguments=arguments or {}
        )

    def ready(self, queue: str) -> int:
        """Return how many messages wait in the queue, by a passive declare."""
        answer = self.call("queue.declare", queue=queue, passive=True)
        return int(answer.arguments["message_count"])

    def get(self, queue: str, *, no_ack: bool = True) -> Message | None:
        """Take one message off the queue, None when the broker says that it is empty."""
        answer = self.call("basic.get", queue=queue, no_ack=no_ack)
        return answer if isinstance(answer, Message) else None

    def drain(self, queue: str, *, exchange: str | None = None) -> list[bytes]:
        """Empty the queue up to a fence and return the bodies that came before it."""
        return [message.body for message in self.drained(queue, exchange=exchange)]

    def drained(self, queue: str, *, exchange: str | None = None) -> list[Message]:
        """Empty the queue up to a fence that is published through ``exchange``; return what came before it.

        The exchange is by default the one that the queue was bound to last. Messages of other tests are left out.
        """
        via = exchange if exchange is not None else self.things.routes.get(queue, "")
        fence = self.things.fence()
        key = self._raise_fence(queue, via, fence)
        before = self._until(queue, fence, via)
        if via:
            self.unbind(queue, via, key, self._fence_arguments(via, key))
        return [message for message in before if not self.things.is_foreign(message)]

    def _fence_arguments(self, exchange: str, key: str) -> dict[str, Any]:
        if self.things.types.get(exchange) == "headers":
            return {"x-match": "all", "mqproof-fence": key}
        return {}

    def _raise_fence(self, queue: str, exchange: str, fence: bytes) -> str:
        if not exchange:
            self.publish("", queue, fence)
            return queue
        key = self.things.absent("fence")
        arguments = self._fence_arguments(exchange, key)
        self.call("queue.bind", queue=queue, exchange=exchange, routing_key=key, arguments=arguments)
        headers = {"mqproof-fence": key} if arguments else {}
        self.publish(exchange, key, fence, headers=headers)
        return key

    def _until(self, queue: str, fence: bytes, exchange: str) -> list[Message]:
        before: list[Message] = []
        deadline = time.monotonic() + patience.seconds(3.0)
        while time.monotonic() < deadline:
            message = self.get(queue)
            if message is not None and message.body == fence:
                return before
            if message is not None:
                before.append(message)
        raise Blocked(f"the fence published through exchange {exchange!r} did not reach queue {queue!r}")
