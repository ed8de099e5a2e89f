"""Heartbeats, both ways (section 4.2.7)."""

from typing import TYPE_CHECKING

from mqproof.dissectors.amqp.codec import Heartbeat, encode
from mqproof.harness.reference.amqp.phases import Phase

if TYPE_CHECKING:
    from mqproof.harness.reference.amqp.connection import Connection


def begin(connection: "Connection") -> None:
    """Send a heartbeat each half interval from now on, and look whether the client is silent."""
    connection.broker.clock.call_later(connection.heartbeat / 2, _beat, connection)


def _beat(connection: "Connection") -> None:
    """Send one, or give up after two silent intervals without a handshake (4.2.7/any-traffic-counts).

    The silence of a blocked publisher is our own doing.
    """
    if connection.phase is Phase.ENDED:
        return
    silent = 0.0 if connection.blocked else connection.broker.clock.time() - connection.last_in
    if silent >= 2 * connection.heartbeat and not connection.broker.defective("heartbeats-unwatched"):
        connection.cut(f"silent for {silent:.1f} s")
        return
    if not connection.broker.defective("heartbeats-unsent"):
        connection.write(encode(Heartbeat()))
    begin(connection)
