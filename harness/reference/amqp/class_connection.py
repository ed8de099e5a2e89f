"""Class connection: start, tune, open, close (sections 2.2.4 and 2.3.7, and the XML's rules of the class)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mqproof.harness.reference.amqp import heartbeats, negotiation
from mqproof.harness.reference.amqp.broker import CLOSED_VHOST
from mqproof.harness.reference.amqp.errors import Refusal
from mqproof.harness.reference.amqp.phases import Phase

if TYPE_CHECKING:
    from mqproof.harness.reference.amqp.connection import Connection


def start(connection: "Connection") -> None:
    """Send connection.start."""
    arguments = {
        "version_major": 0,
        "version_minor": 9,
        "server_properties": negotiation.server_properties(connection.host),
        "mechanisms": " ".join(negotiation.MECHANISMS),
        "locales": "en_US",  # rule connection.start.locales/required-support
    }
    connection.send(0, "connection.start", arguments)


def start_ok(connection: "Connection", arguments: dict[str, Any]) -> None:
    """connection.start-ok. The locale plays no part: there is only one."""
    connection.client_properties = arguments["client_properties"]
    pair = negotiation.credentials(arguments["mechanism"], arguments["response"])
    if pair is None or not connection.broker.login(*pair):
        if not connection.client_can("authentication_failure_close"):
            connection.cut_later(connection.broker.settings.login_delay)  # statement auth-failure-close/02
            return
        text = f"login was refused using authentication mechanism {arguments['mechanism']}"
        connection.close(Refusal(403, text), None)  # statement auth-failure-close/01
        return
    connection.user = pair[0]
    connection.phase = Phase.TUNE_OK
    settings = connection.broker.settings
    limits = {
        "channel_max": settings.channel_max,
        "frame_max": settings.frame_max,
        "heartbeat": settings.heartbeat,
    }
    connection.send(0, "connection.tune", limits)


def tune_ok(connection: "Connection", arguments: dict[str, Any]) -> None:
    """connection.tune-ok. The heartbeat is what the client says: 0 for none."""
    offer = connection.broker.settings
    connection.limit_frames(negotiation.agreed_frame_max(offer.frame_max, arguments["frame_max"]))
    connection.channel_max = negotiation.agreed(offer.channel_max, arguments["channel_max"], "channel-max")
    connection.heartbeat = arguments["heartbeat"]
    connection.phase = Phase.OPEN
    if connection.heartbeat:
        heartbeats.begin(connection)


def open_(connection: "Connection", arguments: dict[str, Any]) -> None:
    """connection.open. An unknown virtual host is 402 (invalid path), a forbidden one 530; both with a handshake."""
    name = arguments["virtual_host"]
    vhost = connection.broker.vhost(name)
    if vhost is not None:
        connection.opened(vhost)
        connection.send(0, "connection.open-ok", {})
    elif name == CLOSED_VHOST:
        text = f"access to vhost '{name}' refused for user '{connection.user}'"
        connection.close(Refusal(530, text), connection.method)
    else:
        connection.close(Refusal(402, f"no vhost '{name}'"), connection.method)


def update_secret(connection: "Connection", arguments: dict[str, Any]) -> None:
    """connection.update-secret: right is the user's own password (statements update-secret/01 and 02)."""
    secret = bytes(arguments["new_secret"]).decode("utf-8", "surrogateescape")
    if connection.user is None or not connection.broker.login(connection.user, secret):
        raise Refusal(530, "new secret was refused")
    connection.send(0, "connection.update-secret-ok", {})


def close(connection: "Connection", arguments: dict[str, Any]) -> None:
    """connection.close from the client."""
    connection.tear_down()
    connection.send(0, "connection.close-ok", {})
    connection.end()


HANDLERS: Final[dict[tuple[Phase, str], Callable[["Connection", dict[str, Any]], None]]] = {
    (Phase.START_OK, "connection.start-ok"): start_ok,
    (Phase.TUNE_OK, "connection.tune-ok"): tune_ok,
    (Phase.OPEN, "connection.open"): open_,
    (Phase.RUNNING, "connection.update-secret"): update_secret,
}
