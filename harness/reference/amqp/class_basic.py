"""Class basic, the consuming side: qos, consume, cancel, get, ack, nack, reject, recover (sections 3.1.6 to 3.1.8)."""

import secrets
from collections.abc import Iterable
from typing import Any, Final

from mqproof.harness.reference.amqp.arguments import consumer_priority
from mqproof.harness.reference.amqp.channel import Channel, Delivery, Handler
from mqproof.harness.reference.amqp.class_queue import find
from mqproof.harness.reference.amqp.consumers import Consumer
from mqproof.harness.reference.amqp.errors import Refusal
from mqproof.harness.reference.amqp.message import Entry
from mqproof.harness.reference.amqp.queue import Queue
from mqproof.harness.reference.amqp.router import REPLY_TO


def qos(channel: Channel, arguments: dict[str, Any]) -> None:
    """basic.qos, see :meth:`Channel.has_room`; new windows of the channel hold at once, of consumers for later ones."""
    if arguments["global"]:
        channel.shared_count, channel.shared_size = arguments["prefetch_count"], arguments["prefetch_size"]
    else:
        channel.prefetch_count, channel.prefetch_size = arguments["prefetch_count"], arguments["prefetch_size"]
    channel.send("basic.qos-ok")
    channel.resume()


def consume(channel: Channel, arguments: dict[str, Any]) -> None:
    """basic.consume. Deliveries follow consume-ok (section 4.6)."""
    tag = arguments["consumer_tag"]
    if tag in channel.consumers or (tag and tag == channel.reply_consumer):
        raise Refusal(530, f"attempt to reuse consumer tag '{tag}'")  # rule basic.consume.consumer-tag/01
    tag = tag or f"amq.ctag-{secrets.token_urlsafe(16)}"
    if arguments["queue"] == REPLY_TO:
        _consume_replies(channel, arguments, tag)
        return
    queue = find(channel, arguments["queue"])
    priority = consumer_priority(arguments["arguments"])
    _check_exclusive(channel, queue, exclusive=arguments["exclusive"])
    consumer = Consumer(
        channel,
        queue,
        tag,
        no_ack=arguments["no_ack"],
        no_local=arguments["no_local"] and not channel.host.defective("no-local-ignored"),
        exclusive=arguments["exclusive"],
        priority=0 if channel.host.defective("consumer-priority-ignored") else priority,
        prefetch_count=channel.prefetch_count,
        prefetch_size=channel.prefetch_size,
    )
    channel.add_consumer(consumer)
    if not arguments["no_wait"]:
        channel.send("basic.consume-ok", consumer_tag=tag)
    queue.attach(consumer)
    queue.expire()
    queue.drain()


def _check_exclusive(channel: Channel, queue: Queue, *, exclusive: bool) -> None:
    """Refuse with 403 what exclusive access forbids (rule basic.consume.exclusive/01, single-active-consumer/03)."""
    if exclusive and queue.settings.single_active_consumer:
        raise Refusal(403, f"queue '{queue.name}' has a single active consumer; exclusive access is not for it")
    present = list(queue.consumers)
    if (exclusive and present) or any(consumer.exclusive for consumer in present):
        raise Refusal(403, f"queue '{queue.name}' in vhost '{channel.host.name}' in exclusive use")


def _consume_replies(channel: Channel, arguments: dict[str, Any], tag: str) -> None:
    """Consume direct replies: without acknowledgements, once for each channel (statement direct-reply-to/02)."""
    if not arguments["no_ack"]:
        raise Refusal(406, "reply consumer cannot acknowledge")
    if channel.reply_to is not None:
        raise Refusal(406, "reply consumer already set")
    channel.reply_to = f"{REPLY_TO}.{secrets.token_urlsafe(24)}"
    channel.reply_consumer = tag
    channel.host.router.requesters[channel.reply_to] = channel
    if not arguments["no_wait"]:
        channel.send("basic.consume-ok", consumer_tag=tag)


def cancel(channel: Channel, arguments: dict[str, Any]) -> None:
    """basic.cancel. A tag whose consumer has gone, or never was, is answered with cancel-ok (rule basic.cancel/01).

    A tag that only another channel of the connection has is 530 (rule basic.consume.consumer-tag/02).
    """
    tag = arguments["consumer_tag"]
    consumer = channel.consumers.get(tag)
    if consumer is not None:
        channel.drop_consumer(consumer)
    elif tag == channel.reply_consumer and channel.reply_to is not None:
        channel.host.router.requesters.pop(channel.reply_to, None)
        channel.reply_to = channel.reply_consumer = None
    elif not channel.knew(tag) and channel.connection.has_consumer(tag):
        raise Refusal(530, f"consumer tag '{tag}' belongs to another channel")
    if not arguments["no_wait"]:
        channel.send("basic.cancel-ok", consumer_tag=tag)


def get(channel: Channel, arguments: dict[str, Any]) -> None:
    """basic.get. Prefetch windows and channel.flow do not concern it (the XML on channel.flow says so)."""
    queue = find(channel, arguments["queue"])
    entry = queue.get()
    if entry is None:
        channel.send("basic.get-empty")
        return
    if not channel.connection.fits(entry.message.header):
        queue.put_back([entry])
        raise Refusal(311, "the content header of the next message exceeds the agreed frame size")
    channel.send_content(
        "basic.get-ok",
        entry.message,
        delivery_tag=channel.hand_out(entry, queue, None, keep=not arguments["no_ack"]),
        redelivered=entry.redelivered,
        exchange=entry.message.exchange,
        routing_key=entry.message.routing_key,
        message_count=len(queue.ready),
    )


def ack(channel: Channel, arguments: dict[str, Any]) -> None:
    """basic.ack."""
    deliveries = channel.claim(arguments["delivery_tag"], arguments["multiple"])
    _settle(channel, deliveries, "ack")


def nack(channel: Channel, arguments: dict[str, Any]) -> None:
    """basic.nack (statements basic.nack/01 to 04)."""
    deliveries = channel.claim(arguments["delivery_tag"], arguments["multiple"])
    _settle(channel, deliveries, "requeue" if arguments["requeue"] else "discard")


def reject(channel: Channel, arguments: dict[str, Any]) -> None:
    """basic.reject."""
    deliveries = channel.claim(arguments["delivery_tag"], multiple=False)
    _settle(channel, deliveries, "requeue" if arguments["requeue"] else "discard")


def _settle(channel: Channel, deliveries: list[Delivery], how: str) -> None:
    transaction = channel.transaction
    if transaction is not None and not channel.host.defective("tx-immediate"):
        transaction.settle(deliveries, lambda: _settle_now(channel, deliveries, how))
    else:
        _settle_now(channel, deliveries, how)


def _settle_now(channel: Channel, deliveries: list[Delivery], how: str) -> None:
    channel.release(deliveries)
    if how == "requeue":
        for queue, entries in _by_queue(deliveries).items():
            queue.put_back(entries, held_from=channel)
    elif how == "discard":
        for delivery in deliveries:
            if not delivery.queue.deleted:
                delivery.queue.discard(delivery.entry, "rejected")
    channel.resume()


def _by_queue(deliveries: Iterable[Delivery]) -> dict[Queue, list[Entry]]:
    found: dict[Queue, list[Entry]] = {}
    for delivery in deliveries:
        found.setdefault(delivery.queue, []).append(delivery.entry)
    return found


def recover(channel: Channel, arguments: dict[str, Any]) -> None:
    """basic.recover: deliveries follow recover-ok (section 4.6)."""
    channel.send("basic.recover-ok")
    recover_async(channel, arguments)


def recover_async(channel: Channel, arguments: dict[str, Any]) -> None:
    """basic.recover-async: what is not settled is sent again, marked as redelivered, under new delivery tags.

    With ``requeue`` to anybody, else to the original consumer ("the original recipient"); what came by basic.get, or
    whose consumer has gone or is stopped by channel.flow, is queued again. What a transaction settled is left alone.
    """
    deliveries = [delivery for delivery in channel.unacked.values() if not delivery.settling]
    channel.release(deliveries)
    again = [] if arguments["requeue"] else [delivery for delivery in deliveries if _is_consumed(channel, delivery)]
    kept = set(again)
    for queue, entries in _by_queue(delivery for delivery in deliveries if delivery not in kept).items():
        queue.put_back(entries)
    for delivery in again:
        delivery.entry.redelivered = not channel.host.defective("redelivered-unset")
        delivery.entry.deliveries += 1
        if delivery.consumer is not None:
            channel.deliver(delivery.consumer, delivery.entry)
    channel.resume()


def _is_consumed(channel: Channel, delivery: Delivery) -> bool:
    consumer = delivery.consumer
    return consumer is not None and channel.flow and channel.consumers.get(consumer.tag) is consumer


def ignore(channel: Channel, arguments: dict[str, Any]) -> None:
    """basic.cancel-ok, channel.flow-ok: answers to what the broker sends without waiting."""


HANDLERS: Final[dict[str, Handler]] = {
    "basic.qos": qos,
    "basic.consume": consume,
    "basic.cancel": cancel,
    "basic.cancel-ok": ignore,
    "basic.get": get,
    "basic.ack": ack,
    "basic.nack": nack,
    "basic.reject": reject,
    "basic.recover": recover,
    "basic.recover-async": recover_async,
}
