"""Faults of AMQP brokers: refusals with the wrong reply code, one fault for each class of methods."""

from typing import Any

from mqproof.dissectors.amqp.tables import CLASS_NAMES
from mqproof.harness.saboteur.amqp_faults import changed, is_method
from mqproof.harness.saboteur.core import AmqpConn, AmqpFault, AmqpResult, fault

CONTENT_TOO_LARGE = 311  # a code of the right level that no statement asks for
CONNECTION_FORCED = 320


class _WrongCode(AmqpFault):
    classes: tuple[str, ...] = ()

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "connection.close") and "connection" in self.classes:
            return [changed(frame, reply_code=CONNECTION_FORCED)]
        if is_method(frame, "channel.close"):
            class_name = CLASS_NAMES.get(frame.arguments["class_id"], "channel")
            return [changed(frame, reply_code=CONTENT_TOO_LARGE)] if class_name in self.classes else None
        return None


def _ids(text: str) -> tuple[str, ...]:
    return tuple(f"amqp-0-9-1:{name}" for name in text.split())


@fault(
    "wrong-code-connection",
    *_ids("""
        4.2.3/oversized 4.2.3/channel-zero 4.2.7/heartbeat-channel-zero 4.2.6/bad-content 4.2.6.1/class-id
        4.2.6.1/channel-not-zero 4.8.1/connection-exception channel.open/state 2.3.7/close-handshake
        exchange.declare.type/support basic.consume.consumer-tag/01 basic.consume.consumer-tag/02
        auth-failure-close/01 basic.publish.exchange/03
    """),
    says="errors of a connection carry the wrong code",
)
class WrongCodeConnection(_WrongCode):
    classes = ("connection",)


@fault(
    "wrong-code-exchange",
    *_ids("""
        exchange/default-access exchange.declare.exchange/reserved exchange.declare.exchange/syntax
        exchange.declare.type/typed exchange.declare.passive/not-found exchange.declare.passive/equivalent
        exchange.delete.exchange/exists exchange.delete.if-unused/in-use exchange.bind.source/exchange-existence
        exchange.bind.destination/exchange-existence exchange.unbind.source/must-exist
        exchange.unbind.destination/must-exist exchange.unbind/01 exchange-to-exchange/04 system-exchange-lock/01
        exchange-auto-delete/01 exchange-to-exchange/05 default-exchange-lock/01
    """),
    says="refusals of exchange methods carry the wrong code",
)
class WrongCodeExchange(_WrongCode):
    classes = ("exchange",)


@fault(
    "wrong-code-queue",
    *_ids("""
        queue.declare.queue/reserved queue.declare.queue/syntax queue.declare.passive/passive
        queue.declare.passive/equivalent queue.declare.exclusive/exclusive queue.bind.queue/queue-known
        queue.bind.queue/must-exist queue.bind.exchange/exchange-existence queue.unbind/01
        queue.unbind.queue/queue-known queue.unbind.queue/must-exist queue.unbind.exchange/must-exist
        queue.purge.queue/queue-known queue.purge.queue/must-exist queue.delete.queue/queue-known
        queue.delete.queue/must-exist queue.delete.if-unused/in-use queue.delete.if-empty/not-empty
        message-ttl-queue/02 queue-ttl/01 queue-ttl/02 dead-letter/09 priority-queue/03 headers-x-match/01
        direct-reply-to/04 3.1.2/one-vhost
        connection.open.virtual-host/separation default-exchange-lock/01
    """),
    says="refusals of queue methods carry the wrong code",
)
class WrongCodeQueue(_WrongCode):
    classes = ("queue",)


@fault(
    "wrong-code-basic",
    *_ids("""
        basic.ack.multiple/exists basic.nack.multiple/exists negative-acks/04 domain.delivery-tag/channel-local
        basic.publish.exchange/must-exist basic.publish.exchange/02 exchange-internal/01 exchange/default-access
        basic.consume.exclusive/01 validated-user-id/01 max-message-size/01 message-ttl-message/02
        sender-selected-cc/02 consumer-priority/03 single-active-consumer/03 direct-reply-to/02 direct-reply-to/03
    """),
    says="refusals of basic methods carry the wrong code",
)
class WrongCodeBasic(_WrongCode):
    classes = ("basic",)


@fault(
    "wrong-code-tx",
    *_ids("tx.commit/transacted tx.rollback/transacted publisher-confirms/06"),
    says="refusals of tx and confirm methods carry the wrong code",
)
class WrongCodeTx(_WrongCode):
    classes = ("tx", "confirm")
