"""Which extensions of AMQP 0-9-1 a broker offers that neither announces them nor has a profile: each is tried once.

A probe looks for the effect, never for an argument that was merely accepted: a broker that ignores ``x-message-ttl``
does not offer it, and is not accused of expiring nothing. Whether an effect that is there is right, the tests say.
Each probe has a connection of its own, and what it makes is exclusive to it or removed.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any, Final

from mqproof.dissectors.amqp.codec import RawFrame
from mqproof.dissectors.amqp.tables import FrameType
from mqproof.harness.probing.limits import ProbeNames
from mqproof.harness.targets.profile import profiles_of
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_janitor import remove
from mqproof.harness.wires.amqp_link import STEP, within
from mqproof.harness.wires.amqp_message import Message
from mqproof.harness.wires.amqp_verbs import Things

TTL: Final = 20  # milliseconds
A_MINUTE: Final = 60000  # milliseconds
EFFECT: Final = 1.0  # seconds within which an effect that takes time has to come
PAUSE: Final = 0.04  # seconds between two looks at it
THREADS: Final = 8
# What no client can find out without harm, or at all; only a profile, or the broker itself, tells of it.
UNTOLD: Final = {
    "authentication_failure_close": "trying takes wrong passwords, for which a broker may lock us out",
    "connection.blocked": "trying takes a broker that is short of memory",
    "consumer_timeout": "its length is the broker's own affair",
    "dlx_at_least_once": "a lost message would tell, and that takes a cluster that loses one",
    "durable_storage": "trying takes a restart",
    "max_message_size": "trying takes messages of unknown size",
    "system_exchange_lock": "trying could delete an exchange that is not ours",
    "update_secret": "trying takes a second valid secret",
}

Probe = Callable[[AmqpWire], object]


def with_features(target: Target, prefix: str) -> Target:
    """Return the target with what probes find it to offer; one that is known, or not AMQP, is returned as it is."""
    if target.protocol != "amqp" or target.driver is not None or profiles_of(target):
        return target
    wanted = [name for name in PROBES if name not in target.capabilities]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="mqproof-probe") as pool:
        offers = pool.map(_offers, repeat(target), repeat(ProbeNames(prefix)), (PROBES[name] for name in wanted))
    found = {name for name, offered in zip(wanted, offers, strict=True) if offered}
    return target.with_(
        capabilities=target.capabilities | found, untold=frozenset(UNTOLD) - target.capabilities
    )


def _offers(target: Target, names: ProbeNames, probe: Probe) -> bool:
    things = Things(names)
    try:
        wire = AmqpWire(target, things, title="AMQP probe")
    except Blocked:
        return False
    try:
        return bool(probe(wire if probe is _heartbeat else wire.open()))
    except Blocked:
        return False
    finally:
        wire.close()
        _tidy(target, things)


def _tidy(target: Target, things: Things) -> None:
    try:
        remove(target, things)
    except Blocked:
        return  # the broker lets us in no more: the run will say so


def _comes(wire: AmqpWire, done: Callable[[], bool]) -> bool:
    """Return whether something comes about soon."""
    return wire.settles(done, EFFECT, every=PAUSE)


def _refuses(wire: AmqpWire, name: str, code: int, **arguments: Any) -> bool:
    wire.send(name, **arguments)
    answer = wire.expect("channel.close", "connection.close", f"{name}-ok")
    return answer.arguments.get("reply_code") == code


def _confirms(wire: AmqpWire) -> object:
    return wire.call("confirm.select")


def _nack(wire: AmqpWire) -> object:
    queue = wire.queue()
    wire.publish("", queue)
    message = wire.get(queue, no_ack=False)
    assert message is not None
    wire.send("basic.nack", delivery_tag=message.arguments["delivery_tag"], requeue=True)
    return wire.get(queue)


def _exchange_bind(wire: AmqpWire) -> object:
    source, queue = wire.exchange("fanout"), wire.queue("key", exchange="amq.direct")
    target = wire.exchange("fanout")
    wire.bind(queue, target)
    wire.link(source, target)
    return wire.publish(source) in wire.drain(queue)


def _alternate(wire: AmqpWire) -> object:
    other = wire.exchange("fanout")
    queue = wire.queue("", exchange=other)
    exchange = wire.exchange(arguments={"alternate-exchange": other})
    return wire.publish(exchange, "nowhere") in wire.drain(queue)


def _copies(header: str) -> Probe:
    def probe(wire: AmqpWire) -> object:
        first, second = wire.queue(), wire.queue()
        return wire.publish("", first, headers={header: [second]}) in wire.drain(second)

    return probe


def _queue_ttl_of_messages(wire: AmqpWire) -> object:
    queue = wire.queue(arguments={"x-message-ttl": TTL})
    wire.publish("", queue)
    return _comes(wire, lambda: wire.ready(queue) == 0)


def _message_ttl(wire: AmqpWire) -> object:
    """The property is a number of milliseconds: to some brokers it is a point in time, long past."""
    queue, kept = wire.queue(), wire.queue()
    wire.publish("", kept, expiration=str(A_MINUTE))
    wire.publish("", queue, expiration=str(TTL))
    return _comes(wire, lambda: wire.ready(queue) == 0) and wire.ready(kept) == 1


def _queue_ttl(wire: AmqpWire) -> object:
    queue = wire.queue(shared=True, arguments={"x-expires": TTL})
    wire.wait(PAUSE)
    return _comes(wire, lambda: not wire.exists(queue))


def _dead_letter(wire: AmqpWire) -> object:
    other = wire.exchange("fanout")
    dead = wire.queue("", exchange=other)
    queue = wire.queue(arguments={"x-dead-letter-exchange": other})
    body = wire.publish("", queue)
    message = wire.get(queue, no_ack=False)
    assert message is not None
    wire.send("basic.reject", delivery_tag=message.arguments["delivery_tag"], requeue=False)
    wire.fence()
    return _comes(wire, lambda: (found := wire.get(dead)) is not None and found.body == body)


def _length_limit(wire: AmqpWire) -> object:
    queue = wire.queue(arguments={"x-max-length": 1})
    for _ in range(3):
        wire.publish("", queue)
    return _comes(wire, lambda: wire.ready(queue) == 1)


def _priorities(wire: AmqpWire) -> object:
    queue = wire.queue(arguments={"x-max-priority": 5})
    wire.publish("", queue, priority=0)
    urgent = wire.publish("", queue, priority=5)
    first = wire.get(queue)
    return first is not None and first.body == urgent


def _consumer_priorities(wire: AmqpWire) -> object:
    queue = wire.queue()
    wire.consume(queue)
    preferred = wire.consume(queue, arguments={"x-priority": 10})
    for _ in range(4):
        wire.publish("", queue)
    return {message.arguments["consumer_tag"] for message in wire.take(4)} == {preferred}


def _single_active_consumer(wire: AmqpWire) -> object:
    """The second consumer has room and gets nothing while the first has none: an ordinary queue would serve it."""
    queue = wire.queue(arguments={"x-single-active-consumer": True})
    wire.open_channel(2)
    wire.consume(queue, prefetch=1)
    wire.consume(queue, channel=2, prefetch=1)
    for _ in range(2):
        wire.publish("", queue)
    return [len(wire.deliveries(channel)) for channel in (1, 2)] == [1, 0]


def _cancel_notify(wire: AmqpWire) -> object:
    queue = wire.queue()
    wire.consume(queue)
    wire.open_channel(2)
    wire.call("queue.delete", channel=2, queue=queue)
    wire.fence()
    return wire.arrived("basic.cancel", channel=1)


def _reply_to(wire: AmqpWire) -> object:
    return wire.consume("amq.rabbitmq.reply-to", no_ack=True)


def _prefetch_per_consumer(wire: AmqpWire) -> object:
    queue = wire.queue()
    wire.consume(queue, prefetch=1)
    wire.consume(queue)
    for _ in range(4):
        wire.publish("", queue)
    return len(wire.deliveries()) == 2


def _validated_user_id(wire: AmqpWire) -> object:
    wire.send_content("", wire.queue(), properties={"user_id": "mqproof-nobody"})
    return wire.expect("channel.close").arguments["reply_code"] == 406


def _quorum(wire: AmqpWire) -> object:
    queue = wire.queue(shared=True, arguments={"x-queue-type": "quorum"})
    wire.publish("", queue)
    for _ in range(2):
        message = wire.get(queue, no_ack=False)
        if message is None:
            return False
        if "x-delivery-count" in (message.properties.get("headers") or {}):
            return True
        wire.send("basic.reject", delivery_tag=message.arguments["delivery_tag"], requeue=True)
        wire.fence()
    return False


def _stream(wire: AmqpWire) -> object:
    queue = wire.queue(shared=True, arguments={"x-queue-type": "stream"})
    return _refuses(wire, "basic.get", 540, queue=queue)


def _exchange_auto_delete(wire: AmqpWire) -> object:
    exchange = wire.exchange(auto_delete=True)
    queue = wire.queue("key", exchange=exchange)
    wire.unbind(queue, exchange, "key")
    return _refuses(wire, "exchange.declare", 404, exchange=exchange, type="direct", passive=True)


def _exchange_internal(wire: AmqpWire) -> object:
    wire.send_content(wire.exchange("fanout", internal=True))
    return wire.expect("channel.close").arguments["reply_code"] == 403


def _idempotent_delete(wire: AmqpWire) -> object:
    return wire.call("queue.delete", queue=wire.things.absent())


def _idempotent_unbind(wire: AmqpWire) -> object:
    return wire.call("queue.unbind", queue=wire.queue(), exchange="amq.direct", routing_key=wire.things.absent())


def _default_exchange_lock(wire: AmqpWire) -> object:
    return _refuses(wire, "queue.bind", 403, queue=wire.queue(), exchange="", routing_key=wire.things.absent())


def _server_names(wire: AmqpWire) -> object:
    answer = wire.call("queue.declare", queue="", exclusive=True)
    return str(answer.arguments["queue"]).startswith("amq.gen-")


def _x_match_with_x(wire: AmqpWire) -> object:
    exchange = wire.exchange("headers")
    queue = wire.queue(exchange=exchange, bind_arguments={"x-match": "all-with-x", "x-a": "1"})
    wire.publish(exchange, headers={"x-a": "2"})
    return wire.drain(queue) == [] and wire.publish(exchange, headers={"x-a": "1"}) in wire.drain(queue)


def _empty_words(wire: AmqpWire) -> object:
    """That # stands for no word, the specification says; that nothing between dots is a word, only some brokers do."""
    exchange = wire.exchange("topic")
    queue = wire.queue("*.b", "c.*", "d.*.e", exchange=exchange)
    return {wire.publish(exchange, key) for key in (".b", "c.", "d..e")} <= set(wire.drain(queue))


def _capabilities(wire: AmqpWire) -> object:
    return wire.server_properties.get("capabilities")


def _field_types(wire: AmqpWire) -> object:
    queue, given = wire.queue(), {"long": 1 << 40, "text": "t", "table": {"array": [1, True]}}
    wire.publish("", queue, headers=given)
    message = wire.get(queue)
    return isinstance(message, Message) and given.items() <= (message.properties.get("headers") or {}).items()


def _tx_reject(wire: AmqpWire) -> object:
    queue = wire.queue()
    wire.publish("", queue)
    wire.call("tx.select")
    message = wire.get(queue, no_ack=False)
    assert message is not None
    wire.send("basic.reject", delivery_tag=message.arguments["delivery_tag"], requeue=True)
    before = wire.ready(queue)
    wire.call("tx.commit")
    return before == 0 and wire.ready(queue) == 1


def _heartbeat(wire: AmqpWire) -> object:
    wire.greet()
    wire.log_in()
    return wire.expect("connection.tune", channel=0).arguments["heartbeat"] > 0


def _access_request(wire: AmqpWire) -> object:
    """Class 30 of AMQP 0-8, of which the tables of 0-9-1 know nothing: method 10 is the request, 11 its answer."""
    wire.send(RawFrame(FrameType.METHOD, 1, b"\x00\x1e\x00\x0a\x05/data\x1e"))
    answer = wire.connection.receive(within(STEP))
    return isinstance(answer, bytes) and answer[7:11] == b"\x00\x1e\x00\x0b"


PROBES: Final[dict[str, Probe]] = {
    "publisher_confirms": _confirms,
    "basic.nack": _nack,
    "exchange_exchange_bindings": _exchange_bind,
    "alternate_exchange": _alternate,
    "sender_selected_cc": _copies("CC"),
    "sender_selected_bcc": _copies("BCC"),
    "message_ttl_queue": _queue_ttl_of_messages,
    "message_ttl_message": _message_ttl,
    "queue_ttl": _queue_ttl,
    "dead_letter": _dead_letter,
    "length_limit": _length_limit,
    "priority_queue": _priorities,
    "consumer_priorities": _consumer_priorities,
    "single_active_consumer": _single_active_consumer,
    "consumer_cancel_notify": _cancel_notify,
    "direct_reply_to": _reply_to,
    "per_consumer_qos": _prefetch_per_consumer,
    "validated_user_id": _validated_user_id,
    "quorum_queues": _quorum,
    "streams": _stream,
    "exchange_auto_delete": _exchange_auto_delete,
    "exchange_internal": _exchange_internal,
    "idempotent_delete": _idempotent_delete,
    "idempotent_unbind": _idempotent_unbind,
    "default_exchange_lock": _default_exchange_lock,
    "server_named_queue": _server_names,
    "headers_x_match": _x_match_with_x,
    "topic_zero_words": _empty_words,
    "server_capabilities": _capabilities,
    "field_types": _field_types,
    "tx_reject": _tx_reject,
    "heartbeat": _heartbeat,
    "access_request": _access_request,
}
