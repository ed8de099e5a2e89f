"""AMQP 0-9-1 class basic: qos in depth, recover and recover-async."""

import pytest
from mqproof.harness.verdicts import Unsupported, check
from mqproof.harness.wires.amqp_message import tell

RECOVER = {"recover": "amqp-0-9-1:basic.recover/01", "recover-async": "amqp-0-9-1:basic.recover-async/01"}


def fill(wire, queue, number):
    return [wire.publish("", queue) for _ in range(number)]


def recover(wire, name, *, requeue=True):
    wire.send(f"basic.{name}", requeue=requeue)
    if name == "recover":
        wire.must_receive("basic.recover-ok")


@pytest.mark.normative("amqp-0-9-1:basic.recover/01", "amqp-0-9-1:basic.recover-async/01")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.normative(statement)) for name, statement in RECOVER.items()]
)
def test_recovered_messages_come_again_in_order_and_flagged(wire, name):
    queue = wire.queue()
    bodies = fill(wire, queue, 3)
    wire.consume(queue)
    wire.take(3)
    recover(wire, name)
    again = wire.must_take(3)
    assert [(message.body, message.redelivered) for message in again] == [(body, True) for body in bodies]


@pytest.mark.normative("amqp-0-9-1:basic.recover/01")
def test_recover_leaves_acknowledged_messages_alone(wire):
    queue = wire.queue()
    bodies = fill(wire, queue, 3)
    wire.consume(queue)
    wire.ack(wire.take(3)[0].delivery_tag)
    recover(wire, "recover")
    assert [message.body for message in wire.must_take(2)] == bodies[1:]
    assert wire.deliveries() == []


@pytest.mark.normative("amqp-0-9-1:basic.recover/01")
def test_recover_concerns_its_own_channel_only(wire):
    queue = wire.queue()
    wire.open_channel(2)
    fill(wire, queue, 1)
    wire.call("basic.get", queue=queue)
    wire.send("basic.recover", channel=2, requeue=True)
    wire.must_receive("basic.recover-ok", channel=2)
    assert wire.get(queue) is None


@pytest.mark.normative("amqp-0-9-1:basic.recover/01")
def test_recover_without_requeue_sends_to_the_same_consumer_again(wire):
    """The rule is about what is resent: a broker that says 540 resends nothing."""
    queue = wire.queue()
    bodies = fill(wire, queue, 2)
    wire.consume(queue, consumer_tag="mine")
    wire.take(2)
    wire.send("basic.recover", requeue=False)
    reaction = wire.must_receive("basic.recover-ok", "connection.close", "channel.close")
    if reaction.arguments.get("reply_code") == 540:
        raise Unsupported(f"basic.recover without requeue: {tell(reaction)}")
    check(reaction.name == "basic.recover-ok", expected="basic.recover-ok", actual=tell(reaction))
    again = wire.must_take(2)
    assert [(m.body, m.redelivered, m.consumer_tag) for m in again] == [(body, True, "mine") for body in bodies]


@pytest.mark.normative("amqp-0-9-1:basic.recover/01")
def test_messages_that_were_got_are_recovered_to_the_queue(wire):
    queue = wire.queue()
    (body,) = fill(wire, queue, 1)
    wire.get(queue, no_ack=False)
    recover(wire, "recover")
    assert [(message.body, message.redelivered) for message in wire.drained(queue)] == [(body, True)]


@pytest.mark.normative("amqp-0-9-1:basic.qos.prefetch-size/01")
def test_prefetch_size_does_not_hold_back_a_single_large_message(wire):
    queue = wire.queue()
    body = wire.publish("", queue, b"x" * 5000)
    wire.send("basic.qos", prefetch_size=100)
    wire.must_receive("basic.qos-ok")
    wire.consume(queue)
    assert [message.body for message in wire.must_take(1)] == [body]


@pytest.mark.normative("amqp-0-9-1:basic.qos.prefetch-count/01")
def test_window_does_not_count_messages_that_were_got(wire):
    """basic.get is not bound by prefetch, and what it took does not fill a consumer's window."""
    queue = wire.queue()
    bodies = fill(wire, queue, 5)
    wire.call("basic.qos", prefetch_count=1)
    wire.get(queue, no_ack=False)
    wire.get(queue, no_ack=False)
    wire.consume(queue)
    got = wire.deliveries()
    assert [message.body for message in got] in ([], bodies[2:3])


@pytest.mark.normative("amqp-0-9-1:3.1.7/prefetch")
def test_window_that_grows_in_mid_flow_lets_more_through(wire):
    """Whether qos concerns consumers that exist already is left open: both are legal, more than the window is not."""
    queue = wire.queue()
    bodies = fill(wire, queue, 6)
    wire.consume(queue, prefetch=2)
    before = wire.must_have(2)
    wire.call("basic.qos", prefetch_count=4, global_=True)
    after = wire.deliveries()
    assert [message.body for message in before] == bodies[:2]
    assert [message.body for message in after] in ([], bodies[2:3], bodies[2:4])


@pytest.mark.needs("per_consumer_qos")
@pytest.mark.normative("amqp-0-9-1:per-consumer-qos/01")
def test_each_later_consumer_has_a_window_of_its_own(wire):
    first, second, third = wire.queue(), wire.queue(), wire.queue()
    for queue in (first, second, third):
        fill(wire, queue, 4)
    wire.consume(first, consumer_tag="unlimited")
    wire.consume(second, prefetch=1, consumer_tag="one")
    wire.consume(third, prefetch=2, consumer_tag="two")
    counts = dict.fromkeys(("unlimited", "one", "two"), 0)
    for message in wire.must_have(7):
        counts[message.consumer_tag] += 1
    assert counts == {"unlimited": 4, "one": 1, "two": 2}


def limit_channel(wire, count):
    """Ask for a window of the whole channel. Raises Unsupported where it is not permitted, which is said."""
    wire.send("basic.qos", prefetch_count=count, global_=True)
    answer = wire.expect("basic.qos-ok", "channel.close", "connection.close")
    if answer.name != "basic.qos-ok":
        raise Unsupported(f"a window of the whole channel is refused: {tell(answer)}")


@pytest.mark.needs("per_consumer_qos")
@pytest.mark.normative("amqp-0-9-1:per-consumer-qos/02")
def test_global_window_is_shared_by_the_consumers_of_a_channel(wire):
    """Some versions accept the flag and treat it as false: what counts is the effect."""
    queues = [wire.queue() for _ in range(2)]
    for queue in queues:
        fill(wire, queue, 4)
    limit_channel(wire, 3)
    for queue in queues:
        wire.consume(queue)
    assert len(wire.must_have(3)) == 3


@pytest.mark.needs("per_consumer_qos")
@pytest.mark.normative("amqp-0-9-1:per-consumer-qos/03")
@pytest.mark.parametrize(("channel_wide", "of_consumer", "expected"), [(3, 2, 3), (5, 2, 4), (0, 2, 4), (3, 0, 3)])
def test_both_windows_hold_at_once(wire, channel_wide, of_consumer, expected):
    queues = [wire.queue() for _ in range(2)]
    for queue in queues:
        fill(wire, queue, 4)
    wire.call("basic.qos", prefetch_count=of_consumer)
    limit_channel(wire, channel_wide)
    for queue in queues:
        wire.consume(queue)
    assert len(wire.must_have(expected)) == expected
