"""Removes what a test made on the broker, on a connection of its own, whatever state the test left the others in."""

from typing import Any

from mqproof.dissectors.amqp.codec import method
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_message import tell
from mqproof.harness.wires.amqp_verbs import Things


def remove(target: Target, things: Things) -> None:
    """Delete the queues and exchanges of one test; what has gone already is fine. Raises Blocked."""
    if not things.queues and not things.exchanges:
        return
    wire = AmqpWire(target, things, title="AMQP removal").open()
    try:
        for queue in things.queues:
            _delete(wire, "queue.delete", queue=queue)
        for exchange in things.exchanges:
            _delete(wire, "exchange.delete", exchange=exchange)
    finally:
        wire.close()


def _delete(wire: AmqpWire, name: str, **entity: Any) -> None:
    wire.send(method(name, **entity))
    answer = wire.expect(f"{name}-ok", "channel.close", "connection.close")
    if answer.name == "connection.close":
        raise Blocked(f"{entity} could not be removed: {tell(answer)}")
    if answer.name == "channel.close":  # 404: it has gone; 405: it goes with the connection that owns it
        wire.send("channel.close-ok")
        wire.open_channel()
