"""Probing an AMQP broker: what connection.tune announces, and what it takes when it is tried."""

from collections.abc import Callable
from typing import Any

from mqproof.dissectors.amqp.tables import FRAME_MIN_SIZE, FRAME_OVERHEAD
from mqproof.harness.probing.limits import MESSAGE_SIZES, Limit, ProbeNames, megabytes
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_verbs import Things

EXCHANGE_TYPES = ("direct", "fanout", "topic", "headers")
QUEUE_TYPES = ("classic", "quorum", "stream")


def probe(target: Target, names: ProbeNames) -> list[Limit]:
    """Return the limits of an AMQP broker. Raises Blocked when it does not let us in."""
    announced = _announced(target, names)
    return [
        Limit("frame-max (octets)", _limit(announced["frame_max"]), _frame_max(target, names, announced["frame_max"])),
        Limit("smallest frame-max taken", "", _smallest_frame_max(target, names)),
        Limit("channel-max", _limit(announced["channel_max"]), _channel_max(target, names, announced["channel_max"])),
        Limit("heartbeat (seconds)", str(announced["heartbeat"] or "off"), ""),
        Limit("largest message", "", _largest_message(target, names)),
        Limit("exchange types", "", _offered(target, names, EXCHANGE_TYPES, _declares_exchange)),
        Limit("queue types", "", _offered(target, names, QUEUE_TYPES, _declares_queue)),
        Limit("transactions", "", _yes(_tries(target, names, lambda wire: wire.call("tx.select")))),
        Limit("publisher confirms", "", _yes(_tries(target, names, lambda wire: wire.call("confirm.select")))),
        Limit("channel-wide prefetch", "", _global_prefetch(target, names)),
    ]


def _wire(target: Target, names: ProbeNames) -> AmqpWire:
    return AmqpWire(target, Things(names), title="AMQP probe")


def _announced(target: Target, names: ProbeNames) -> dict[str, int]:
    wire = _wire(target, names)
    try:
        wire.greet()
        wire.log_in()
        return dict(wire.expect("connection.tune", channel=0).arguments)
    finally:
        wire.close()


def _tries(target: Target, names: ProbeNames, attempt: Callable[[AmqpWire], object], **tuned: Any) -> bool:
    """Return whether an attempt succeeds on a connection of its own; what it made goes with the connection."""
    wire = _wire(target, names)
    try:
        wire.open(**tuned)
        attempt(wire)
        wire.fence()
    except Blocked:
        return False
    else:
        return True
    finally:
        wire.close()


def _frame_max(target: Target, names: ProbeNames, announced: int) -> str:
    if not announced:
        return "no limit to try"
    whole = announced - FRAME_OVERHEAD

    def send(size: int) -> bool:
        return _tries(target, names, lambda wire: _publish_one_frame(wire, bytes(size)))

    return f"{announced if send(whole) else 'less'}, one octet more is {'taken' if send(whole + 1) else 'refused'}"


def _publish_one_frame(wire: AmqpWire, body: bytes) -> None:
    wire.tuned = {**wire.tuned, "frame_max": len(body) + FRAME_OVERHEAD}
    wire.send_content("", wire.things.absent(), body)


def _smallest_frame_max(target: Target, names: ProbeNames) -> str:
    sizes = (FRAME_MIN_SIZE, 2 * FRAME_MIN_SIZE)
    taken = next((size for size in sizes if _tries(target, names, lambda wire: None, frame_max=size)), None)
    return str(taken) if taken else f"above {sizes[-1]}"


def _channel_max(target: Target, names: ProbeNames, announced: int) -> str:
    highest = announced or 65535
    opened = _tries(target, names, lambda wire: wire.open_channel(highest))
    return f"channel {highest} {'opens' if opened else 'is refused'}"


def _largest_message(target: Target, names: ProbeNames) -> str:
    largest = 0
    for size in (*MESSAGE_SIZES, MESSAGE_SIZES[-1] + 1):
        if not _tries(target, names, lambda wire, size=size: _keep(wire, bytes(size))):  # type: ignore[misc]
            return f"{megabytes(largest)}, {megabytes(size)} is refused"
        largest = size
    return f"{megabytes(largest)} and perhaps more"


def _keep(wire: AmqpWire, body: bytes) -> None:
    queue = wire.things.queue(remove=False)
    wire.call("queue.declare", queue=queue, exclusive=True, auto_delete=True)
    wire.send_content("", queue, body)


def _offered(
    target: Target, names: ProbeNames, kinds: tuple[str, ...], declares: Callable[[AmqpWire, str], object]
) -> str:
    taken = [kind for kind in kinds if _tries(target, names, lambda wire, kind=kind: declares(wire, kind))]  # type: ignore[misc]
    return ", ".join(taken) or "none"


def _declares_exchange(wire: AmqpWire, kind: str) -> None:
    name = wire.things.exchange()
    wire.call("exchange.declare", exchange=name, type=kind)
    wire.call("exchange.delete", exchange=name)


def _declares_queue(wire: AmqpWire, kind: str) -> None:
    name = wire.things.queue(remove=False)
    wire.call("queue.declare", queue=name, durable=True, arguments={"x-queue-type": kind})
    wire.call("queue.delete", queue=name)


def _global_prefetch(target: Target, names: ProbeNames) -> str:
    """Return the effect: some versions accept the flag and count for each consumer all the same."""
    got: list[int] = []

    def consume_twice(wire: AmqpWire) -> None:
        queues = [wire.queue() for _ in range(2)]
        for queue in queues:
            wire.send_content("", queue)
        wire.fence()
        wire.call("basic.qos", prefetch_count=1, global_=True)
        for queue in queues:
            wire.consume(queue)
        got.append(len(wire.deliveries()))

    if not _tries(target, names, consume_twice):
        return "no"
    return "yes" if got == [1] else "accepted, counts for each consumer"


def _limit(number: int) -> str:
    return str(number) if number else "no limit"


def _yes(taken: bool) -> str:
    return "yes" if taken else "no"
