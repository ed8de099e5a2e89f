"""basic.publish with its content, and the classes tx and confirm that say when a publish counts."""

from typing import Any, Final

from mqproof.harness.reference.amqp.arguments import milliseconds
from mqproof.harness.reference.amqp.channel import Channel, Confirms, Handler
from mqproof.harness.reference.amqp.content import Assembly
from mqproof.harness.reference.amqp.errors import Refusal
from mqproof.harness.reference.amqp.exchange import Exchange
from mqproof.harness.reference.amqp.message import Message
from mqproof.harness.reference.amqp.router import REPLY_TO, routing_keys
from mqproof.harness.reference.amqp.transaction import Transaction


def publish(channel: Channel, content: Assembly) -> None:
    """Act on a complete basic.publish. What is wrong with it is told now, inside a transaction as well."""
    arguments = content.method.arguments
    if content.too_large:
        limit = channel.connection.broker.max_message_size
        raise Refusal(406, f"message size {content.size} is larger than the maximum of {limit}")
    exchange = channel.host.exchange(arguments["exchange"])  # rule basic.publish.exchange/must-exist
    if exchange.internal:
        raise Refusal(403, f"exchange '{exchange.name}' is internal")  # rule basic.publish.exchange/02
    message = _message(channel, content)
    routing_keys(message)
    channel.connection.broker.note_publish()
    tag = None if channel.confirms is None else channel.confirms.next_tag()
    transaction = channel.transaction
    if transaction is None or channel.host.defective("tx-immediate"):
        _send(channel, exchange, message, arguments, tag)
    else:
        transaction.publish(lambda: _send(channel, exchange, message, arguments, None))


def _message(channel: Channel, content: Assembly) -> Message:
    properties = content.properties
    user = properties.get("user_id")
    if user is not None and user != channel.connection.user:
        # statement validated-user-id/01
        raise Refusal(406, f"user_id property set to '{user}' but authenticated user was '{channel.connection.user}'")
    message = Message(
        exchange=content.method.arguments["exchange"],
        routing_key=content.method.arguments["routing_key"],
        properties=properties,
        body=content.body,
        header=content.header,
        publisher=channel.connection,
        ttl=milliseconds(properties["expiration"]) if "expiration" in properties else None,
    )
    if properties.get("reply_to") == REPLY_TO and not channel.host.defective("reply-to-queued"):
        if channel.reply_to is None:
            raise Refusal(406, "fast reply consumer does not exist")  # statement direct-reply-to/03
        message = message.rewritten({**properties, "reply_to": channel.reply_to})
    return message


def _send(channel: Channel, exchange: Exchange, message: Message, arguments: dict[str, Any], tag: int | None) -> None:
    """Route a message; return it where asked for, before its confirm (rule confirm/unroutable-messages).

    A message with ``immediate`` is returned with 313 when no consumer could be sent it at once. With ``mandatory`` as
    well, one that no binding took comes back with 312.
    """
    immediate = arguments["immediate"]
    outcome = channel.host.router.publish(exchange, message, immediate=immediate)
    if arguments["mandatory"] and not outcome.routed:
        _return(channel, message, 312, "NO_ROUTE")
    elif immediate and not outcome.taken:
        _return(channel, message, 313, "NO_CONSUMERS")
    if tag is None or channel.confirms is None:
        return
    if outcome.refused:
        channel.confirms.nack(tag)
    else:
        channel.confirms.ack(tag)


def _return(channel: Channel, message: Message, code: int, text: str) -> None:
    channel.send_content(
        "basic.return",
        message,
        reply_code=code,
        reply_text=text,
        exchange=message.exchange,
        routing_key=message.routing_key,
    )


def confirm_select(channel: Channel, arguments: dict[str, Any]) -> None:
    """confirm.select: 406 on a transacted channel (publisher-confirms/06), harmless twice (publisher-confirms/07)."""
    if channel.transaction is not None:
        raise Refusal(406, "cannot switch from tx to confirm mode")
    channel.confirms = channel.confirms or Confirms(channel)
    if not arguments["nowait"]:
        channel.send("confirm.select-ok")


def tx_select(channel: Channel, arguments: dict[str, Any]) -> None:
    """tx.select: 406 on a confirming channel; a second one leaves the open transaction as it is."""
    if channel.confirms is not None:
        raise Refusal(406, "cannot switch from confirm to tx mode")
    channel.transaction = channel.transaction or Transaction()
    channel.send("tx.select-ok")


def tx_commit(channel: Channel, arguments: dict[str, Any]) -> None:
    """tx.commit: 406 on a channel that is not transacted (rule tx.commit/transacted)."""
    _transaction(channel).commit()
    channel.send("tx.commit-ok")


def tx_rollback(channel: Channel, arguments: dict[str, Any]) -> None:
    """tx.rollback: 406 on a channel that is not transacted (rule tx.rollback/transacted)."""
    _transaction(channel).rollback()
    channel.send("tx.rollback-ok")


def _transaction(channel: Channel) -> Transaction:
    if channel.transaction is None:
        raise Refusal(406, "channel is not transactional")
    return channel.transaction


def _published(channel: Channel, arguments: dict[str, Any]) -> None:
    """Stand for basic.publish among the handlers: the channel collects its content and calls :func:`publish`."""


HANDLERS: Final[dict[str, Handler]] = {
    "basic.publish": _published,
    "confirm.select": confirm_select,
    "tx.select": tx_select,
    "tx.commit": tx_commit,
    "tx.rollback": tx_rollback,
}
