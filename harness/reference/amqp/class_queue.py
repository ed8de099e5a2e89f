"""Class queue: declare, bind, unbind, purge, delete (section 3.1.4 and the XML's rules of the class)."""

from typing import Any, Final

from mqproof.harness.reference.amqp.broker import STRANGER
from mqproof.harness.reference.amqp.channel import Channel, Handler
from mqproof.harness.reference.amqp.errors import Refusal
from mqproof.harness.reference.amqp.queue import Queue


def find(channel: Channel, name: str) -> Queue:
    """Return the queue that a method names; an empty name means the one that the channel declared last.

    Raises Refusal 404 when it declared none: the rules …/queue-known say so (the domain queue-name says 502).
    """
    if name:
        return channel.host.queue(name, channel.connection)
    if channel.last_queue is None:
        raise Refusal(404, "no queue was declared on this channel")
    return channel.host.queue(channel.last_queue, channel.connection)


def declare(channel: Channel, arguments: dict[str, Any]) -> None:
    """queue.declare. Passive with an empty name asks for the queue declared last, since it may make none."""
    name = arguments["queue"]
    if arguments["passive"]:
        if name in channel.host.router.requesters:
            _declared(channel, arguments, name, (0, 1))  # statement direct-reply-to/04
            return
        queue = find(channel, name)
        queue.touch()
    else:
        if channel.connection.user == STRANGER:
            raise Refusal(403, f"access to queue '{name}' refused for user '{STRANGER}'")
        queue = channel.host.declare_queue(
            name,
            channel.connection,
            durable=arguments["durable"],
            exclusive=arguments["exclusive"],
            auto_delete=arguments["auto_delete"],
            arguments=arguments["arguments"],
        )
    channel.last_queue = queue.name
    queue.expire()
    _declared(channel, arguments, queue.name, (len(queue.ready), len(queue.consumers)))


def _declared(channel: Channel, arguments: dict[str, Any], name: str, counts: tuple[int, int]) -> None:
    """Answer declare-ok; messages that are delivered and not settled are not counted (domain message-count)."""
    if not arguments["no_wait"]:
        channel.send("queue.declare-ok", queue=name, message_count=counts[0], consumer_count=counts[1])


def bind(channel: Channel, arguments: dict[str, Any]) -> None:
    """queue.bind. With no queue named, an empty routing key means the queue's name (field routing-key of the XML)."""
    queue = find(channel, arguments["queue"])
    key = arguments["routing_key"]
    if not arguments["queue"] and not key:
        key = queue.name
    channel.host.bind(channel.host.exchange(arguments["exchange"]), queue, key, arguments["arguments"])
    if not arguments["no_wait"]:
        channel.send("queue.bind-ok")


def unbind(channel: Channel, arguments: dict[str, Any]) -> None:
    """queue.unbind. A missing queue or exchange is 404 on the channel (rules must-exist).

    The same empty names mean the same as in bind.
    """
    queue = find(channel, arguments["queue"])
    key = arguments["routing_key"]
    if not arguments["queue"] and not key:
        key = queue.name
    channel.host.unbind(channel.host.exchange(arguments["exchange"]), queue, key, arguments["arguments"])
    channel.send("queue.unbind-ok")


def purge(channel: Channel, arguments: dict[str, Any]) -> None:
    """queue.purge."""
    queue = find(channel, arguments["queue"])
    queue.expire()
    count = queue.purge()
    if not arguments["no_wait"]:
        channel.send("queue.purge-ok", message_count=count)


def delete(channel: Channel, arguments: dict[str, Any]) -> None:
    """queue.delete. ``if-empty`` asks whether messages wait; delivered ones are not counted (domain message-count)."""
    queue = find(channel, arguments["queue"])
    queue.expire()
    if arguments["if_unused"] and len(queue.consumers):
        raise Refusal(406, f"queue '{queue.name}' in vhost '{channel.host.name}' in use")
    if arguments["if_empty"] and len(queue.ready):
        raise Refusal(406, f"queue '{queue.name}' in vhost '{channel.host.name}' not empty")
    if not arguments["no_wait"]:
        channel.send("queue.delete-ok", message_count=len(queue.ready))  # before the consumers are told
    channel.host.delete_queue(queue)


HANDLERS: Final[dict[str, Handler]] = {
    "queue.declare": declare,
    "queue.bind": bind,
    "queue.unbind": unbind,
    "queue.purge": purge,
    "queue.delete": delete,
}
