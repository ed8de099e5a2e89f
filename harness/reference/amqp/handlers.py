"""Which function handles which method on a channel."""

from typing import Any, Final

from mqproof.harness.reference.amqp import class_basic, class_exchange, class_queue, publishing
from mqproof.harness.reference.amqp.channel import Channel, Handler


def flow(channel: Channel, arguments: dict[str, Any]) -> None:
    """channel.flow: deliveries stop while ``active`` is false (rules channel.flow/…)."""
    channel.flow = arguments["active"]
    channel.send("channel.flow-ok", active=channel.flow)
    channel.resume()


HANDLERS: Final[dict[str, Handler]] = {
    "channel.flow": flow,
    "channel.flow-ok": class_basic.ignore,
    **class_exchange.HANDLERS,
    **class_queue.HANDLERS,
    **class_basic.HANDLERS,
    **publishing.HANDLERS,
}
