"""Class exchange: declare, delete, bind, unbind (section 3.1.3 and the XML's rules of the class)."""

from typing import Any, Final

from mqproof.harness.reference.amqp.channel import Channel, Handler
from mqproof.harness.reference.amqp.errors import Refusal


def declare(channel: Channel, arguments: dict[str, Any]) -> None:
    """exchange.declare. Passive compares nothing but the name (rule passive/not-found)."""
    name = arguments["exchange"]
    if arguments["passive"]:
        if not name:
            raise Refusal(403, "the default exchange cannot be declared")  # rule exchange/default-access
        channel.host.exchange(name)
    else:
        channel.host.declare_exchange(
            name,
            arguments["type"],
            durable=arguments["durable"],
            auto_delete=arguments["auto_delete"],
            internal=arguments["internal"],
            arguments=arguments["arguments"],
        )
    if not arguments["no_wait"]:
        channel.send("exchange.declare-ok")


def delete(channel: Channel, arguments: dict[str, Any]) -> None:
    """exchange.delete. A missing exchange is 404 (rule exchange.delete.exchange/exists)."""
    channel.host.delete_exchange(arguments["exchange"], if_unused=arguments["if_unused"])
    if not arguments["no_wait"]:
        channel.send("exchange.delete-ok")


def bind(channel: Channel, arguments: dict[str, Any]) -> None:
    """exchange.bind. An empty name means the default exchange (rules exchange.bind.…/default-exchange)."""
    destination, source = (channel.host.exchange(arguments[role]) for role in ("destination", "source"))
    channel.host.bind(source, destination, arguments["routing_key"], arguments["arguments"])
    if not arguments["no_wait"]:
        channel.send("exchange.bind-ok")


def unbind(channel: Channel, arguments: dict[str, Any]) -> None:
    """exchange.unbind. A missing exchange is 404 on the channel (rules must-exist)."""
    destination, source = (channel.host.exchange(arguments[role]) for role in ("destination", "source"))
    channel.host.unbind(source, destination, arguments["routing_key"], arguments["arguments"])
    if not arguments["no_wait"]:
        channel.send("exchange.unbind-ok")


HANDLERS: Final[dict[str, Handler]] = {
    "exchange.declare": declare,
    "exchange.delete": delete,
    "exchange.bind": bind,
    "exchange.unbind": unbind,
}
