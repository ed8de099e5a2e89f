"""A virtual host: its exchanges, queues and bindings, and the rules for making and removing them (3.1.2 to 3.1.5).

Sans-IO. Handlers call it with what a client asked for; it raises :class:`Refusal` with the code that the rule names.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

from mqproof.dissectors.amqp.codec import plain
from mqproof.dissectors.amqp.fields import write_table
from mqproof.harness.reference.amqp.clock import Clock
from mqproof.harness.reference.amqp.errors import Refusal
from mqproof.harness.reference.amqp.exchange import Exchange
from mqproof.harness.reference.amqp.queue import Queue
from mqproof.harness.reference.amqp.router import Router
from mqproof.harness.reference.amqp.routing import Binding, Defective

PREDECLARED: Final = {
    "": "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
}
"""Rule exchange/required-instances names amq.<type> for each type, section 3.1.3.4 amq.match: both are there."""

_NAME: Final = re.compile(r"[a-zA-Z0-9\-_.:]*\Z")
_ENTRY_OCTETS: Final = 1024  # what a message takes beside its body, roughly
_NAME_MAX: Final = 127  # domains exchange-name and queue-name: assert length 127


class VirtualHost:
    """One virtual host of a broker; ``defective`` asks for deep faults."""

    def __init__(self, name: str, clock: Clock, defective: Defective) -> None:
        self.name = name
        self.clock = clock
        self.defective = defective
        self.queues: dict[str, Queue] = {}
        self.exchanges = {
            name: Exchange(name, type_, durable=True, defective=defective) for name, type_ in PREDECLARED.items()
        }
        self._sources: dict[Any, dict[Exchange, int]] = {}  # destination -> exchanges bound to it, with how many
        self.router = Router(self)

    # Exchanges

    def exchange(self, name: str) -> Exchange:
        """Return an exchange. Raises Refusal 404."""
        found = self.exchanges.get(name)
        if found is None:
            raise Refusal(404, f"no exchange '{name}' in vhost '{self.name}'")
        return found

    def declare_exchange(
        self,
        name: str,
        type_: str,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> Exchange:
        """Make an exchange, or check that the one that exists is the same (rule exchange.declare.passive/equivalent).

        Compared are type, durable and arguments, as the rule says; auto-delete is ignored (amq_exchange_25), and so is
        internal, of which the text says nothing. Another type is refused with a channel exception, 406: that rule
        binds the server, while type/typed (530) binds the client.
        """
        if not name:
            raise Refusal(403, "the default exchange cannot be declared")  # rule exchange/default-access
        existing = self.exchanges.get(name)
        if existing is None:
            check_name("exchange", name)
            existing = Exchange(
                name,
                type_,
                durable=durable,
                auto_delete=auto_delete,
                internal=internal,
                arguments=arguments,
                defective=self.defective,
            )
            self.exchanges[name] = existing
            return existing
        wanted = {"type": type_, "durable": durable, "arguments": arguments or {}}
        _compare(f"exchange '{name}'", wanted, existing)
        return existing

    def delete_exchange(self, name: str, *, if_unused: bool = False) -> None:
        """Delete an exchange. Raises Refusal: 403 for predeclared ones, 404, and 406 when it is in use.

        In use means that it has bindings to queues or exchanges; being a destination is no use of it.
        """
        if not name or name in PREDECLARED:
            raise Refusal(403, f"exchange '{name}' belongs to the broker")
        exchange = self.exchange(name)
        if if_unused and exchange.bindings:
            raise Refusal(406, f"exchange '{name}' in vhost '{self.name}' in use")
        self._drop_exchange(exchange)

    def _drop_exchange(self, exchange: Exchange) -> None:
        """Remove an exchange with all its bindings, and auto-delete exchanges that lose their last one by it."""
        doomed = [exchange]
        while doomed:
            dying = doomed.pop()
            if self.exchanges.pop(dying.name, None) is None:
                continue
            for binding in list(dying.bindings.values()):
                self._forget_source(binding)
            dying.bindings.clear()
            doomed += self._drop_incoming(dying)

    # Queues

    def queue(self, name: str, connection: object) -> Queue:
        """Return a queue. Raises Refusal: 404, or 405 when it is exclusive to another connection."""
        found = self.queues.get(name)
        if found is None:
            raise Refusal(404, f"no queue '{name}' in vhost '{self.name}'")
        exclusive = found.exclusive_to is not None and not self.defective("exclusive-shared")
        if exclusive and found.exclusive_to is not connection:
            raise Refusal(405, f"cannot obtain exclusive access to locked queue '{name}' in vhost '{self.name}'")
        return found

    def declare_queue(
        self,
        name: str,
        connection: object,
        *,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> Queue:
        """Make a queue, or check that the one that exists is the same (rule queue.declare.passive/equivalent).

        That rule lists auto-delete among what is compared; queue.declare.auto-delete/pre-existence, which is about this
        flag alone, says that it is ignored for an existing queue: so it is. An empty name asks for a generated one.
        """
        if name in self.queues:
            existing = self.queue(name, connection)
            wanted = {"durable": durable, "exclusive": exclusive, "arguments": arguments or {}}
            _compare(f"queue '{name}'", wanted, existing)
            existing.touch()
            return existing
        check_name("queue", name)
        made = Queue(
            name or self._generated_name(),
            self,
            durable=durable,
            auto_delete=auto_delete,
            exclusive_to=connection if exclusive else None,
            arguments=arguments,
        )
        self.queues[made.name] = made
        if not self.defective("no-default-binding"):
            self.bind(self.exchanges[""], made, made.name, {})  # rule queue.declare/default-binding
        return made

    def delete_queue(self, queue: Queue) -> None:
        """Delete a queue.

        Its consumers are told; its messages go to its dead-letter exchange if it has one (rule queue.delete/01), with
        the reason ``deleted``.
        """
        self.queues.pop(queue.name, None)
        for exchange in self._drop_incoming(queue):
            self._drop_exchange(exchange)
        waiting = queue.remove()
        for consumer in queue.consumers:
            consumer.channel.consumer_lost(consumer)
        for entry in waiting:
            self.dead_letter(queue, entry.message, "deleted")

    def queue_expired(self, queue: Queue) -> None:
        """Delete a queue that was not used for its x-expires (statement queue-ttl/01)."""
        if self.queues.get(queue.name) is queue and not len(queue.consumers):
            self._discard_queue(queue)

    def queue_unused(self, queue: Queue) -> None:
        """Delete a queue whose last consumer went, if it is auto-delete (section 3.1.4)."""
        if queue.auto_delete and not len(queue.consumers) and not self.defective("auto-delete-kept"):
            self._discard_queue(queue)

    def connection_lost(self, connection: object) -> None:
        """Delete the exclusive queues of a connection that has ended (section 4.5)."""
        if self.defective("exclusive-kept"):
            return
        for queue in [queue for queue in self.queues.values() if queue.exclusive_to is connection]:
            self._discard_queue(queue)

    def _discard_queue(self, queue: Queue) -> None:
        """Delete a queue that no one asked to delete: its messages are dropped."""
        if self.queues.get(queue.name) is queue:
            queue.purge()
            self.delete_queue(queue)

    def _generated_name(self) -> str:
        return f"amq.gen-{secrets.token_urlsafe(16)}"  # statement server-named-queue/01

    # Bindings

    def bind(self, source: Exchange, destination: Queue | Exchange, key: str, arguments: Mapping[str, Any]) -> None:
        """Bind a queue or an exchange to an exchange; the same binding twice is one (rule queue.bind/duplicates)."""
        if source.bind(Binding(source, destination, key, dict(arguments))):
            counts = self._sources.setdefault(destination, {})
            counts[source] = counts.get(source, 0) + 1

    def unbind(self, source: Exchange, destination: Queue | Exchange, key: str, arguments: Mapping[str, Any]) -> None:
        """Remove a binding. A binding that is not there is a connection exception (rules queue.unbind/01 and
        exchange.unbind/01: "If a unbind fails, the server MUST raise a connection exception"); the code is 404, which
        the neighbouring rules name for what does not exist.
        """
        if self.defective("unbind-ignored"):
            return
        binding = source.unbind(Binding(source, destination, key, dict(arguments)).identity)
        if binding is None:
            raise Refusal(404, f"no binding '{key}' from exchange '{source.name}' to '{destination.name}'", hard=True)
        self._forget_source(binding)
        if self._is_done(source):
            self._drop_exchange(source)

    def _drop_incoming(self, destination: Queue | Exchange) -> list[Exchange]:
        """Remove all bindings to a destination; return the auto-delete exchanges that have none left."""
        sources = list(self._sources.pop(destination, {}))
        for source in sources:
            for identity in [i for i, binding in source.bindings.items() if binding.destination is destination]:
                source.unbind(identity)
        return [source for source in sources if self._is_done(source)]

    def _forget_source(self, binding: Binding) -> None:
        counts = self._sources.get(binding.destination, {})
        counts[binding.source] = counts.get(binding.source, 1) - 1
        if counts[binding.source] <= 0:
            del counts[binding.source]

    def _is_done(self, exchange: Exchange) -> bool:
        """Tell whether an auto-delete exchange has lost its last binding (statement exchange-auto-delete/01)."""
        return exchange.auto_delete and not exchange.bindings and self.exchanges.get(exchange.name) is exchange

    # Messages

    def load(self) -> int:
        """Return about how many octets of memory the waiting messages take."""
        return sum(queue.ready.octets + len(queue.ready) * _ENTRY_OCTETS for queue in self.queues.values())

    def dead_letter(self, queue: Queue, message: Any, reason: str) -> None:
        """Publish a dead message to the queue's dead-letter exchange, if it has one."""
        self.router.dead_letter(queue, message, reason)


def check_name(kind: str, name: str) -> None:
    """Refuse names that only the server may make (403, rules …/reserved) and names out of syntax (406, …/syntax)."""
    if name.startswith("amq."):
        raise Refusal(403, f"{kind} name '{name}' contains reserved prefix 'amq.*'")
    if not _NAME.match(name) or len(name) > _NAME_MAX:
        raise Refusal(406, f"{kind} name '{name}' is not made of at most 127 letters, digits and -_.:")


def _compare(what: str, wanted: Mapping[str, Any], existing: Exchange | Queue) -> None:
    for name, value in wanted.items():
        present: Any = getattr(existing, name)
        same = _same_tables(value, present) if name == "arguments" else value == present
        if not same:
            shown = f"received {plain(value)!r} but current is {plain(present)!r}"
            raise Refusal(406, f"inequivalent arg '{name}' for {what}: {shown}")


def _same_tables(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Compare tables: numbers by value whatever their width, everything else by octets."""
    return one.keys() == other.keys() and all(_same_values(one[name], other[name]) for name in one)


def _same_values(one: Any, other: Any) -> bool:
    one, other = plain(one), plain(other)
    numeric = type(one) in (int, float) and type(other) in (int, float)
    return bool(one == other) if numeric else write_table({"": one}) == write_table({"": other})
