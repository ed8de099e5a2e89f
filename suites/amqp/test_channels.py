"""AMQP 0-9-1 class channel and sections 4.3, 4.6, 4.8.1: channels, what they promise, and what ends them."""

from contextlib import suppress

import pytest
from mqproof.dissectors.amqp.codec import method
from mqproof.harness.verdicts import Blocked, check
from mqproof.harness.wires.amqp_link import STEP

LOOKS = 20  # at a queue that has to go, each on a connection of its own
MANY_CHANNELS = "amqp-0-9-1:4.3/many-channels"


@pytest.mark.normative("amqp-0-9-1:channel.open/state")
def test_open_of_an_open_channel_is_refused_with_504(wire):
    wire.send("channel.open")
    wire.must_refuse(504, fenced=False)


@pytest.mark.normative("amqp-0-9-1:4.8.1/connection-exception")
@pytest.mark.parametrize("name", ["basic.qos", "queue.declare", "channel.close", "basic.ack"])
def test_method_on_a_channel_that_is_not_open_is_refused_with_504(wire, name):
    wire.send(name, channel=5)
    wire.must_refuse(504, 503, channel=5)


@pytest.mark.normative("amqp-0-9-1:channel.flow/initial-state", "amqp-0-9-1:channel.flow/throttling")
def test_client_may_pause_and_resume_its_deliveries(wire):
    queue = wire.queue()
    wire.send("channel.flow", active=False)
    wire.must_receive("channel.flow-ok", channel=1, active=False)
    wire.consume(queue, no_ack=True)
    body = wire.publish("", queue)
    assert wire.deliveries() == []
    wire.send("channel.flow", active=True)
    wire.must_receive("channel.flow-ok", channel=1, active=True)
    assert [message.body for message in wire.must_take(1)] == [body]


@pytest.mark.normative("amqp-0-9-1:channel.flow/initial-state")
def test_new_channel_is_active(wire):
    queue = wire.queue()
    body = wire.publish("", queue)
    wire.open_channel(6)
    wire.consume(queue, channel=6, no_ack=True)
    assert [message.body for message in wire.must_take(1)] == [body]


@pytest.mark.normative("amqp-0-9-1:channel.flow/bidirectional")
def test_flow_is_answered_while_contents_are_being_delivered(wire):
    queue = wire.queue()
    bodies = [wire.publish("", queue, b"x" * 50000 + b"%d" % number) for number in range(5)]
    wire.send(method("basic.consume", 1, queue=queue, no_ack=True), method("channel.flow", 1, active=True))
    wire.must_receive("channel.flow-ok", channel=1, active=True)
    assert [message.body for message in wire.must_take(5)] == bodies


@pytest.mark.normative("amqp-0-9-1:4.8.1/channel-exception")
@pytest.mark.parametrize(
    "error",
    [
        method("queue.declare", 2, queue="mqproof-absent", passive=True),
        method("exchange.declare", 2, exchange="mqproof-absent", passive=True),
        method("queue.bind", 2, queue="mqproof-absent", exchange="amq.direct", routing_key="k"),
    ],
    ids=["queue", "exchange", "bind"],
)
def test_operational_error_closes_its_own_channel_only(wire, error):
    wire.open_channel(2)
    queue = wire.queue()
    wire.send(error)
    wire.must_receive("channel.close", channel=2)  # with which code, the rules of each method say
    wire.send("channel.close-ok", channel=2)
    wire.must_accept(channel=1)
    body = wire.publish("", queue)
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:4.8.1/connection-exception")
def test_structural_error_closes_the_whole_connection(wire):
    wire.open_channel(2)
    wire.send("exchange.declare", channel=2, exchange=wire.things.absent(), type="mqproof-no-such-type")
    wire.must_receive("connection.close", channel=0)


@pytest.mark.normative("amqp-0-9-1:4.8.1/channel-exception", "amqp-0-9-1:2.3.7/close-handshake")
def test_close_names_the_method_that_failed(wire):
    """class-id and method-id of close are the failing method's (queue.declare is 50.10)."""
    wire.send("queue.declare", queue=wire.things.absent(), passive=True)
    close = wire.expect("channel.close")
    assert (close.arguments["class_id"], close.arguments["method_id"]) == (50, 10)


@pytest.mark.normative("amqp-0-9-1:4.3/many-channels", "amqp-0-9-1:domain.delivery-tag/channel-local")
def test_channels_of_one_connection_have_their_own_consumers_and_acks(wire):
    first, second = wire.queue(), wire.queue()
    wire.open_channel(2)
    wire.consume(first, channel=1)
    wire.consume(second, channel=2)
    bodies = [wire.publish("", first), wire.publish("", second)]
    one, two = wire.must_receive("basic.deliver", channel=1), wire.must_receive("basic.deliver", channel=2)
    check([one.body, two.body] == bodies, expected=bodies, actual=[one.body, two.body], statement=MANY_CHANNELS)
    tags = (one.delivery_tag, two.delivery_tag)
    check(tags == (1, 1), expected=(1, 1), actual=tags, statement="amqp-0-9-1:domain.delivery-tag/channel-local")


@pytest.mark.normative("amqp-0-9-1:4.3/fair")
def test_two_busy_channels_both_make_progress(wire):
    """Of a hundred deliveries, each channel that always has work gets at least a fifth."""
    queues = {1: wire.queue(), 2: wire.queue()}
    wire.open_channel(2)
    for channel, queue in queues.items():
        for _ in range(100):
            wire.send_content("", queue, channel=channel)
        wire.fence(channel)
    for channel, queue in queues.items():
        wire.consume(queue, channel=channel, prefetch=1)
    served = {1: 0, 2: 0}
    for _ in range(100):
        message = wire.receive()
        served[message.channel] += 1
        wire.ack(message.delivery_tag, channel=message.channel)
    assert min(served.values()) >= 20


@pytest.mark.normative("amqp-0-9-1:4.6/synchronous-effects")
def test_binding_works_as_soon_as_bind_is_answered_and_not_before(wire):
    exchange, queue = wire.exchange("direct"), wire.queue()
    wire.publish(exchange, "key")
    wire.bind(queue, exchange, "key")
    body = wire.publish(exchange, "key")
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:4.6/synchronous-effects")
def test_binding_ends_as_soon_as_unbind_is_answered(wire):
    exchange = wire.exchange("direct")
    queue = wire.queue("key", exchange=exchange)
    body = wire.publish(exchange, "key")
    wire.unbind(queue, exchange, "key")
    wire.publish(exchange, "key")
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:4.6/synchronous-effects")
def test_queue_is_empty_as_soon_as_purge_is_answered(wire):
    queue = wire.queue()
    for _ in range(5):
        wire.publish("", queue)
    assert wire.call("queue.purge", queue=queue).arguments["message_count"] == 5
    assert wire.call("basic.get", queue=queue).name == "basic.get-empty"


@pytest.mark.normative("amqp-0-9-1:4.6/synchronous-effects")
def test_no_delivery_comes_before_consume_is_answered(wire):
    queue = wire.queue()
    wire.publish("", queue)
    wire.send("basic.consume", queue=queue, no_ack=True)
    assert wire.must_receive("basic.consume-ok", "basic.deliver").name == "basic.consume-ok"


@pytest.mark.normative("amqp-0-9-1:3.1.6/cancel-stops", "amqp-0-9-1:4.6/synchronous-effects")
def test_no_delivery_follows_the_answer_to_cancel(wire):
    queue = wire.queue()
    wire.consume(queue, consumer_tag="worker", no_ack=True)
    wire.call("basic.cancel", consumer_tag="worker")
    body = wire.publish("", queue)
    assert wire.deliveries() == []
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:4.4/visibility")
def test_what_one_client_has_seen_done_another_client_sees(wires):
    maker, other = wires(), wires()
    queue = maker.queue(shared=True)
    other.send("queue.declare", queue=queue, passive=True)
    other.must_receive("queue.declare-ok", queue=queue, message_count=0)
    body = maker.publish("", queue)
    assert other.ready(queue) == 1
    assert [message.body for message in [other.get(queue)] if message] == [body]
    assert maker.ready(queue) == 0


def must_be_gone(wires, queue):
    """Look on a new connection where a broker closes that of a client that looks at a locked queue."""
    patient = wires()
    for _ in range(LOOKS):
        with suppress(Blocked):
            return wires().must_lose(queue)
        patient.wait(STEP / LOOKS)
    return wires().must_lose(queue)


@pytest.mark.normative("amqp-0-9-1:4.5/auto-delete-on-close")
@pytest.mark.parametrize("end", ["close_connection", "close", "cut"])
def test_end_of_a_connection_takes_its_exclusive_and_auto_delete_queues(wires, end):
    owner, other = wires(), wires()
    exclusive = owner.queue()
    left = owner.queue(shared=True, auto_delete=True)
    unused = owner.queue(shared=True, auto_delete=True)
    owner.consume(left)
    getattr(owner, end)()
    for queue in (left, exclusive):
        must_be_gone(wires, queue)
    other.send("queue.declare", queue=unused, passive=True)
    other.must_receive("queue.declare-ok", queue=unused)  # nobody ever consumed: it stays


@pytest.mark.normative("amqp-0-9-1:4.7/order")
@pytest.mark.parametrize("size", [10, 5000])
def test_one_path_keeps_the_order_of_a_long_burst(wire, size):
    exchange = wire.exchange("direct")
    queue = wire.queue("key", exchange=exchange)
    bodies = [wire.send_content(exchange, "key", b"%06d" % number + b"x" * size) for number in range(200)]
    wire.fence()
    wire.consume(queue, no_ack=True)
    assert [message.body for message in [wire.receive(), *wire.must_take(199)]] == bodies
