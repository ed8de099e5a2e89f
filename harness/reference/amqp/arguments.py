"""The optional arguments of queues, exchanges and consumers: which values are legal, and what they mean.

Statements message-ttl-queue/02, queue-ttl/02, dead-letter/09, priority-queue/03, consumer-priority/03 and their like:
an illegal value is refused with 406. Arguments that no one here knows are kept and compared, nothing more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mqproof.dissectors.amqp.codec import Field, plain
from mqproof.harness.reference.amqp.errors import Refusal

PLAIN_LEVELS: Final = 9  # rule basic/07: up to ten priorities, 0 to 9; a queue without x-max-priority has them all
OVERFLOWS: Final = ("drop-head", "reject-publish", "reject-publish-dlx")
QUEUE_TYPES: Final = ("classic", "quorum", "stream")
_MILLISECONDS_MAX: Final = 2**32 - 1
_INTEGER_LETTERS: Final = "bBsuIilL"


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What the arguments of queue.declare ask for. Times in seconds, sizes in octets of body."""

    message_ttl: float | None = None
    expires: float | None = None
    max_length: int | None = None
    max_length_bytes: int | None = None
    overflow: str = "drop-head"
    dead_letter_exchange: str | None = None
    dead_letter_routing_key: str | None = None
    max_priority: int = PLAIN_LEVELS
    single_active_consumer: bool = False
    delivery_limit: int | None = None
    consumer_timeout: float | None = None


def queue_settings(arguments: Mapping[str, Any]) -> QueueSettings:
    """Return the settings that the arguments of queue.declare ask for. Raises Refusal."""
    _check_queue_type(arguments)
    found: dict[str, Any] = {}
    for name, (key, read) in _QUEUE_ARGUMENTS.items():
        if name in arguments:
            found[key] = read(name, arguments[name])
    if "dead_letter_routing_key" in found and "dead_letter_exchange" not in found:
        raise Refusal(406, "x-dead-letter-routing-key without x-dead-letter-exchange")
    return QueueSettings(**found)


def consumer_priority(arguments: Mapping[str, Any]) -> int:
    """Return x-priority of basic.consume, 0 when absent. Raises Refusal (consumer-priority/03)."""
    return integer("x-priority", arguments["x-priority"]) if "x-priority" in arguments else 0


def alternate_exchange(arguments: Mapping[str, Any]) -> str | None:
    """Return the exchange that takes what an exchange cannot route. Raises Refusal."""
    return string("alternate-exchange", arguments["alternate-exchange"]) if "alternate-exchange" in arguments else None


def integer(name: str, value: Any) -> int:
    """Return an integer of any width. Raises Refusal for everything else, booleans included."""
    if isinstance(value, Field) and value.letter in _INTEGER_LETTERS:
        value = value.value
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refusal(406, f"{name} must be an integer, not {plain(value)!r}")
    return value


def string(name: str, value: Any) -> str:
    """Return a string. Raises Refusal."""
    if not isinstance(value, str):
        raise Refusal(406, f"{name} must be a string, not {plain(value)!r}")
    return value


def milliseconds(text: str) -> float:
    """Return the seconds that the property expiration asks for (message-ttl-message/02). Raises Refusal."""
    if not (text.isascii() and text.isdigit()):
        raise Refusal(406, f"expiration must be a number of milliseconds, not {text!r}")
    return int(text) / 1000


def _not_negative(name: str, value: Any) -> int:
    number = integer(name, value)
    if number < 0:
        raise Refusal(406, f"{name} must not be negative, not {number}")
    return number


def _seconds(name: str, value: Any) -> float:
    number = _not_negative(name, value)
    if number > _MILLISECONDS_MAX:
        raise Refusal(406, f"{name} is too large: {number}")
    return number / 1000


def _positive_seconds(name: str, value: Any) -> float:
    seconds = _seconds(name, value)
    if not seconds:
        raise Refusal(406, f"{name} must be more than 0")
    return seconds


def _priority(name: str, value: Any) -> int:
    number = _not_negative(name, value)
    if number > 255:
        raise Refusal(406, f"{name} is at most 255, not {number}")
    return number


def _overflow(name: str, value: Any) -> str:
    if value not in OVERFLOWS:
        raise Refusal(406, f"{name} is one of {', '.join(OVERFLOWS)}, not {plain(value)!r}")
    return str(value)


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refusal(406, f"{name} must be a boolean, not {plain(value)!r}")
    return value


def _check_queue_type(arguments: Mapping[str, Any]) -> None:
    """Refuse quorum queues and streams with 540: replication and logs on disk are beyond a broker in memory."""
    kind = arguments.get("x-queue-type", "classic")
    if kind not in QUEUE_TYPES:
        raise Refusal(406, f"x-queue-type is one of {', '.join(QUEUE_TYPES)}, not {plain(kind)!r}")
    if kind != "classic":
        raise Refusal(540, f"queues of type {kind} are not offered")


_QUEUE_ARGUMENTS: Final[dict[str, tuple[str, Callable[[str, Any], Any]]]] = {
    "x-message-ttl": ("message_ttl", _seconds),
    "x-expires": ("expires", _positive_seconds),
    "x-max-length": ("max_length", _not_negative),
    "x-max-length-bytes": ("max_length_bytes", _not_negative),
    "x-overflow": ("overflow", _overflow),
    "x-dead-letter-exchange": ("dead_letter_exchange", string),
    "x-dead-letter-routing-key": ("dead_letter_routing_key", string),
    "x-max-priority": ("max_priority", _priority),
    "x-single-active-consumer": ("single_active_consumer", _boolean),
    "x-delivery-limit": ("delivery_limit", _not_negative),
    "x-consumer-timeout": ("consumer_timeout", _seconds),
}
