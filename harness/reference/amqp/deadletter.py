"""What becomes of a dead message's headers (statements dead-letter/02 to 07)."""

from datetime import UTC, datetime
from typing import Any, Final

from mqproof.dissectors.amqp.codec import Field, plain
from mqproof.harness.reference.amqp.message import Message
from mqproof.harness.reference.amqp.routing import Defective, faultless

X_DEATH: Final = "x-death"
ROWS_MAX: Final = 128
"""Rows of x-death beyond which a message is dropped: a longer way is no use, and would take its time with each step."""


def deaths(message: Message) -> list[dict[str, Any]]:
    """Return the table rows of x-death, newest first; what a client put there that is no such row is left out.

    A message that an application published again with its x-death counts on from there, as in RabbitMQ before 4.0.
    """
    rows = message.headers.get(X_DEATH)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def is_cycle(message: Message, queue_name: str) -> bool:
    """Tell whether the message was in this queue before and came back without being rejected (dead-letter/07)."""
    for row in deaths(message):
        if row.get("reason") == "rejected":
            return False
        if row.get("queue") == queue_name:
            return True
    return False


def died(
    message: Message, *, queue_name: str, reason: str, exchange: str, key: str | None, defective: Defective = faultless
) -> Message | None:
    """Return the message as it goes to the dead-letter ``exchange``, or None when it has died in too many places.

    ``key``: x-dead-letter-routing-key, which also takes the place of the keys in CC; None keeps the original keys. The
    expiration is removed, lest the message die again (dead-letter/02), and stays on record in x-death.
    """
    headers = dict(message.headers)
    row = _row(message, queue_name, reason)
    others = [old for old in deaths(message) if (old.get("queue"), old.get("reason")) != (queue_name, reason)]
    if len(others) >= ROWS_MAX:
        return None
    former = [old for old in deaths(message) if old not in others]
    if former:
        row["count"] = Field("l", _count(former[0]) + (0 if defective("x-death-uncounted") else 1))
    headers[X_DEATH] = [row, *others]
    for name, value in (("queue", queue_name), ("reason", reason), ("exchange", message.exchange)):
        headers.setdefault(f"x-first-death-{name}", value)
    if key is not None:
        headers.pop("CC", None)
    properties = {name: value for name, value in message.properties.items() if name != "expiration"}
    properties["headers"] = headers
    routing_key = message.routing_key if key is None else key
    return message.rewritten(properties, exchange=exchange, routing_key=routing_key, ttl=None)


def _row(message: Message, queue_name: str, reason: str) -> dict[str, Any]:
    carbon = message.headers.get("CC")
    row = {
        "count": Field("l", 1),
        "reason": reason,
        "queue": queue_name,
        "time": datetime.now(UTC).replace(microsecond=0),
        "exchange": message.exchange,
        "routing-keys": [message.routing_key, *(carbon if isinstance(carbon, list) else [])],
    }
    if "expiration" in message.properties:
        row["original-expiration"] = message.properties["expiration"]
    return row


def _count(row: dict[str, Any]) -> int:
    count = plain(row.get("count"))
    return count if isinstance(count, int) and 0 <= count < 2**62 else 0
