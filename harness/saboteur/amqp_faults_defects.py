"""Faults of AMQP brokers that only the embedded broker can show: state that no rewriting of frames reaches."""

from mqproof.harness.saboteur.core import defect

_DEFECTS = {
    "copies-per-binding": (
        "a queue gets one copy for each binding that matches",
        "queue.bind/unique 3.1.5/multiple-bindings-one-copy exchange.bind/unique exchange-to-exchange/02 "
        "sender-selected-cc/03",
    ),
    "alternate-ignored": (
        "alternate exchanges are never used",
        "alternate-exchange/01 alternate-exchange/02 alternate-exchange/03",
    ),
    "unbind-ignored": (
        "unbind answers ok and keeps the binding",
        "4.6/synchronous-effects exchange-to-exchange/03 3.1.3.2/match queue.bind/duplicates "
        "exchange.delete.if-unused/in-use",
    ),
    "e2e-ignored": (
        "bindings between exchanges route nothing",
        "exchange-to-exchange/01 exchange-internal/01 exchange.bind/duplicates exchange.bind/cyclical "
        "exchange.bind.source/default-exchange exchange.bind.destination/default-exchange exchange.bind/unique",
    ),
    "cc-ignored": ("the keys in header CC are not routed", "sender-selected-cc/01"),
    "bcc-kept": ("the header BCC reaches the consumer", "sender-selected-bcc/01"),
    "priority-ignored": ("all messages have one priority", "basic/06 basic/07 priority-queue/01 priority-queue/02"),
    "priority-reversed": ("low priorities go first", "basic/06 priority-queue/01"),
    "delivered-twice": ("a message goes to two consumers", "3.1.4/one-client single-active-consumer/01"),
    "purge-takes-unacked": ("purge forgets delivered messages, too", "queue.purge/02"),
    "ttl-ignored": (
        "messages never expire",
        "message-ttl-queue/01 message-ttl-queue/04 message-ttl-message/01 message-ttl-message/03 dead-letter/02 "
        "dead-letter/07",
    ),
    "ttl-restarts": ("a message that comes back gets its time to live anew", "message-ttl-queue/03"),
    "expires-ignored": ("x-expires deletes nothing", "queue-ttl/01"),
    "dead-letter-ignored": (
        "dead messages are dropped",
        "dead-letter/01 dead-letter/02 dead-letter/03 dead-letter/04 dead-letter/05 dead-letter/06 length-limit/04 "
        "queue.delete/01 basic.deliver/01",
    ),
    "x-death-uncounted": ("x-death counts stay at 1", "dead-letter/05"),
    "max-length-ignored": (
        "limits of length bound nothing",
        "length-limit/01 length-limit/02 length-limit/03 basic/05 dead-letter/03",
    ),
    "overflow-drops-new": ("a full queue drops the newest message", "length-limit/01 length-limit/02 dead-letter/03"),
    "tx-immediate": (
        "work in a transaction is done at once",
        "tx.commit/transacted tx.rollback/transacted tx-reject/01",
    ),
    "exclusive-shared": (
        "exclusive queues are open to every connection",
        "queue.declare.exclusive/exclusive queue.declare.exclusive/types",
    ),
    "exclusive-kept": ("exclusive queues outlive their connection", "4.5/auto-delete-on-close"),
    "auto-delete-kept": (
        "auto-delete queues stay when their last consumer goes",
        "3.1.4/auto-delete 4.5/auto-delete-on-close",
    ),
    "sac-all": ("every consumer of a single-active-consumer queue receives", "single-active-consumer/01"),
    "consumer-priority-ignored": (
        "priorities of consumers are not honoured",
        "consumer-priority/01 consumer-priority/02",
    ),
    "vhosts-shared": (
        "all virtual hosts see the same queues",
        "connection.open.virtual-host/separation 3.1.2/one-vhost",
    ),
    "heartbeats-unsent": ("the broker sends no heartbeats", "heartbeat/01"),
    "heartbeats-unwatched": ("a silent client is never dropped", "4.2.7/any-traffic-counts heartbeat/01"),
    "reply-to-queued": ("direct reply-to names are not replaced", "direct-reply-to/01 direct-reply-to/04"),
    "prefetch-size-absolute": ("prefetch-size blocks a single large message", "basic.qos.prefetch-size/01"),
}
for _name, (_says, _ids) in _DEFECTS.items():
    defect(_name, *(f"amqp-0-9-1:{name}" for name in _ids.split()), says=_says, protocol="amqp")
