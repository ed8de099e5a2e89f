"""From a published message to the queues it goes to (sections 3.1.1 and 3.1.3, and the extensions on routing)."""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from mqproof.dissectors.amqp.codec import Unencodable, plain
from mqproof.harness.reference.amqp.deadletter import died, is_cycle
from mqproof.harness.reference.amqp.errors import Refusal
from mqproof.harness.reference.amqp.exchange import Exchange
from mqproof.harness.reference.amqp.message import Message
from mqproof.harness.reference.amqp.queue import Queue

if TYPE_CHECKING:
    from mqproof.harness.reference.amqp.topology import VirtualHost

REPLY_TO: Final = "amq.rabbitmq.reply-to"
"""The name that stands for direct reply-to; RabbitMQ's, since clients know it under no other."""


class Replies(Protocol):
    """Who takes replies sent to a direct reply-to name: a channel."""

    def reply(self, message: Message) -> None:
        """Send the reply to the requester."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a publish: whether a binding led to any queue, whether a queue took it, whether one refused it."""

    routed: bool
    taken: bool
    refused: bool = False


class Router:
    """Routes and publishes in one virtual host. Dead letters are published after what caused them, one by one."""

    def __init__(self, host: "VirtualHost") -> None:
        self._host = host
        self._dead: deque[tuple[Queue, Message, str]] = deque()
        self._burying = False
        self.requesters: dict[str, Replies] = {}

    def publish(self, exchange: Exchange, message: Message, *, immediate: bool = False) -> Outcome:
        """Route a message and hand it to its queues; the confirm may be sent when this returns (confirm/all-queues).

        ``immediate``: only to queues that can deliver it at once. Raises Refusal 406 for a malformed CC or BCC.
        """
        keys = routing_keys(message, ignored=("CC", "BCC") if self._host.defective("cc-ignored") else ())
        sent = message
        if "BCC" in message.headers and not self._host.defective("bcc-kept"):
            sent = _without_bcc(message)
        if exchange.name == "" and message.routing_key in self.requesters:
            self.requesters[message.routing_key].reply(sent)
            return Outcome(routed=True, taken=True)
        queues = self.route(exchange, message, keys)
        if immediate:
            at_once = [queue.publish_at_once(sent) for queue in queues]
            return Outcome(routed=bool(queues), taken=any(at_once))
        taken = [queue.publish(sent) for queue in queues]
        return Outcome(routed=bool(queues), taken=any(taken), refused=not all(taken))

    def route(self, exchange: Exchange, message: Message, keys: list[str]) -> list[Queue]:
        """Return the queues that a message reaches, each once (rules queue.bind/unique and exchange.bind/unique).

        Follows bindings between exchanges, each exchange once, so that cycles end (exchange-to-exchange/02). An
        exchange where no binding matches hands over to its alternate exchange, if that exists (alternate-exchange/01
        to 04); a binding to an exchange that then finds no queue does count as a match, as in RabbitMQ.
        """
        found: list[Queue] = []
        seen: set[Any] = {exchange}
        to_do = [exchange]
        repeat = self._host.defective("copies-per-binding")
        while to_do:
            current = to_do.pop(0)
            destinations = current.match(keys, message)
            if not destinations:
                destinations = self._alternates(current)
            for destination in destinations:
                if isinstance(destination, Queue):
                    if repeat or destination not in seen:
                        found.append(destination)
                elif destination not in seen and not self._ignores(current, destination):
                    to_do.append(destination)
                seen.add(destination)
        return found

    def _alternates(self, exchange: Exchange) -> list[Any]:
        if exchange.alternate is None or self._host.defective("alternate-ignored"):
            return []
        alternate = self._host.exchanges.get(exchange.alternate)
        return [] if alternate is None else [alternate]

    def _ignores(self, exchange: Exchange, destination: Exchange) -> bool:
        return self._host.defective("e2e-ignored") and exchange.alternate != destination.name

    def dead_letter(self, queue: Queue, message: Message, reason: str) -> None:
        """Publish a message that died in a queue to the queue's dead-letter exchange, if it has one.

        A chain of deaths is worked off here one after the other, however long it is.
        """
        if queue.settings.dead_letter_exchange is None or self._host.defective("dead-letter-ignored"):
            return
        self._dead.append((queue, message, reason))
        if self._burying:
            return
        self._burying = True
        try:
            while self._dead:
                self._bury(*self._dead.popleft())
        finally:
            self._burying = False

    def _bury(self, queue: Queue, message: Message, reason: str) -> None:
        settings = queue.settings
        exchange = self._host.exchanges.get(settings.dead_letter_exchange or "")
        if exchange is None:
            return  # statement dead-letter/08
        try:
            letter = died(
                message,
                queue_name=queue.name,
                reason=reason,
                exchange=exchange.name,
                key=settings.dead_letter_routing_key,
                defective=self._host.defective,
            )
        except Unencodable:
            return  # its headers cannot be written again
        if letter is None:
            return
        for target in self.route(exchange, letter, routing_keys(letter)):
            if reason == "rejected" or not is_cycle(letter, target.name):
                target.publish(letter)


def routing_keys(message: Message, ignored: tuple[str, ...] = ()) -> list[str]:
    """Return the keys a message is routed by: its own, then those in CC and BCC, each once (sender-selected-cc/01).

    Raises Refusal 406 when CC or BCC is no array of strings (sender-selected-cc/02).
    """
    keys = [message.routing_key]
    for name in ("CC", "BCC"):
        if name in message.headers and name not in ignored:
            values = message.headers[name]
            if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
                raise Refusal(406, f"header {name} must be an array of strings, not {plain(values)!r}")
            keys += values
    return list(dict.fromkeys(keys))


def _without_bcc(message: Message) -> Message:
    headers = {name: value for name, value in message.headers.items() if name != "BCC"}
    return message.rewritten({**message.properties, "headers": headers})
