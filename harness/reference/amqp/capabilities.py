"""What the reference broker offers beyond the text of AMQP 0-9-1, and under which capability each extension goes.

``BY_FEATURE`` is the one table for everybody: the feature column of the extensions' statements -> the capability that
``needs(...)`` asks for. Names that RabbitMQ advertises in server-properties are used as they are; an extension that has
no advertised name has ours, the feature's own with underscores.

Three features are not offered because the text's own rules demand the opposite:

- ``idempotent_delete``: rules queue.delete.queue/must-exist and exchange.delete.exchange/exists demand 404;
- ``idempotent_unbind``: rules queue.unbind/01 and exchange.unbind/01 demand an exception;
- ``default_exchange_lock``: rules queue.bind.exchange/default-exchange and the like demand that an empty name means the
  default exchange (declaring or deleting it is refused with 403 all the same, rule exchange/default-access). This holds
  for statement exchange-to-exchange/05 as well.

``quorum_queues``, ``streams`` and ``dlx_at_least_once`` need a cluster or a log on disk and are refused with 540.
"""

from typing import Final

BY_FEATURE: Final[dict[str, str]] = {
    "publisher-confirms": "publisher_confirms",
    "basic.nack": "basic.nack",
    "exchange-to-exchange": "exchange_exchange_bindings",
    "alternate-exchange": "alternate_exchange",
    "sender-selected-cc": "sender_selected_cc",
    "sender-selected-bcc": "sender_selected_bcc",
    "message-ttl-queue": "message_ttl_queue",
    "message-ttl-message": "message_ttl_message",
    "queue-ttl": "queue_ttl",
    "dead-letter": "dead_letter",
    "length-limit": "length_limit",
    "priority-queue": "priority_queue",
    "consumer-priority": "consumer_priorities",
    "single-active-consumer": "single_active_consumer",
    "consumer-cancel-notify": "consumer_cancel_notify",
    "connection-blocked": "connection.blocked",
    "direct-reply-to": "direct_reply_to",
    "per-consumer-qos": "per_consumer_qos",
    "auth-failure-close": "authentication_failure_close",
    "update-secret": "update_secret",
    "validated-user-id": "validated_user_id",
    "quorum-queue": "quorum_queues",
    "stream-queue": "streams",
    "consumer-timeout": "consumer_timeout",
    "exchange-auto-delete": "exchange_auto_delete",
    "exchange-internal": "exchange_internal",
    "idempotent-delete": "idempotent_delete",
    "idempotent-unbind": "idempotent_unbind",
    "default-exchange-lock": "default_exchange_lock",
    "system-exchange-lock": "system_exchange_lock",
    "server-named-queue": "server_named_queue",
    "headers-x-match": "headers_x_match",
    "topic-zero-words": "topic_zero_words",
    "server-capabilities": "server_capabilities",
    "field-types": "field_types",
    "tx-reject": "tx_reject",
    "max-message-size": "max_message_size",
    "heartbeat": "heartbeat",
    "dlx-at-least-once": "dlx_at_least_once",
    "access-request": "access_request",
}

NOT_OFFERED: Final = frozenset({
    "idempotent_delete",
    "idempotent_unbind",
    "default_exchange_lock",
    "quorum_queues",
    "streams",
    "dlx_at_least_once",
})  # fmt: skip

OFFERED: Final = tuple(sorted(set(BY_FEATURE.values()) - NOT_OFFERED))


def table() -> dict[str, bool]:
    """Return the ``capabilities`` table of server-properties (statement server-capabilities/01)."""
    return dict.fromkeys(OFFERED, True)
