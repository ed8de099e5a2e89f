"""Extensions of AMQP 0-9-1 about time: message TTL and queue TTL. What waits runs ahead of its turn.

A busy machine may wake a test late: lateness of our own never accuses, so that upper bounds are deadlines of reading,
which takes what has come by then, and orders are compared where they can be.
"""

import time

import pytest
from mqproof.harness.verdicts import Blocked, Deviation, check
from mqproof.suites.amqp.ahead import ahead

TTL = "amqp-0-9-1:message-ttl-queue/"
EXPIRATION = "amqp-0-9-1:message-ttl-message/"
EXPIRES = "amqp-0-9-1:queue-ttl/"
UNUSED = {"x-expires": 3000}
SLACK = 3.0  # seconds that an expiry may be late: brokers look at intervals of their own


def must_arrive(wire, queue, body, *, after, since):
    """Accuse the broker unless the body reaches the queue about ``after`` seconds after ``since``."""
    wire.consume(queue, no_ack=True)
    message = wire.must_receive("basic.deliver", seconds=after + SLACK)
    seconds = time.monotonic() - since
    check(message.body == body, expected=body, actual=message.body)
    check(after - 0.05 <= seconds, expected=f"after {after} s", actual=f"after {seconds:.2f} s")


def grave_of(wire, **arguments):
    """Declare a queue with these arguments that dead-letters into another; return both names."""
    grave = wire.queue()
    letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave}
    return wire.queue(arguments=arguments | letters), grave


@pytest.mark.slow
@pytest.mark.needs("message_ttl_queue", "dead_letter")
@pytest.mark.normative(f"{TTL}01")
@pytest.mark.parametrize("milliseconds", [300, 1000])
@ahead
def test_queue_ttl_expires_messages_after_the_period(wires, milliseconds):
    wire = wires()
    queue, grave = grave_of(wire, **{"x-message-ttl": milliseconds})
    began = time.monotonic()
    body = wire.publish("", queue)
    must_arrive(wire, grave, body, after=milliseconds / 1000, since=began)


@pytest.mark.slow
@pytest.mark.needs("message_ttl_queue")
@pytest.mark.normative(f"{TTL}01")
@ahead
def test_expired_message_is_not_delivered(wires):
    wire = wires()
    queue = wire.queue(arguments={"x-message-ttl": 200})
    wire.publish("", queue)
    wire.wait(0.6)
    check(wire.get(queue) is None, expected="an empty queue", actual="the message that had expired")


@pytest.mark.needs("message_ttl_queue")
@pytest.mark.normative(f"{TTL}02")
@pytest.mark.parametrize("value", [-1, "100", 1.5, None], ids=str)
def test_message_ttl_that_is_no_period_is_refused_with_406(wire, value):
    name = wire.things.queue(remove=False)
    wire.send("queue.declare", queue=name, exclusive=True, arguments={"x-message-ttl": value})
    wire.must_refuse(406, fenced=False)


@pytest.mark.slow
@pytest.mark.needs("message_ttl_queue", "dead_letter")
@pytest.mark.normative(f"{TTL}03")
@ahead
def test_requeued_message_keeps_its_time_of_expiry(wires):
    """A witness, published just before the requeue, expires later: but not than a message whose time began anew."""
    wire = wires()
    queue, grave = grave_of(wire, **{"x-message-ttl": 1500})
    letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave}
    other = wire.queue(arguments={"x-message-ttl": 1500} | letters)
    body = wire.publish("", queue)
    held = wire.get(queue, no_ack=False)
    wire.wait(1.0)
    wire.publish("", other)
    wire.send("basic.reject", delivery_tag=held.delivery_tag, requeue=True)
    wire.consume(grave, no_ack=True)
    message = wire.must_receive("basic.deliver", seconds=1.5 + SLACK)
    check(message.body == body, expected="the requeued message first", actual="the one published later first")


@pytest.mark.needs("message_ttl_queue")
@pytest.mark.normative(f"{TTL}04")
def test_ttl_of_zero_drops_what_nobody_waits_for(wire):
    queue = wire.queue(arguments={"x-message-ttl": 0})
    wire.publish("", queue)
    wire.send("basic.get", queue=queue)
    wire.must_receive("basic.get-empty")


@pytest.mark.needs("message_ttl_queue")
@pytest.mark.normative(f"{TTL}04")
def test_ttl_of_zero_delivers_to_a_waiting_consumer(wire):
    queue = wire.queue(arguments={"x-message-ttl": 0})
    wire.consume(queue, no_ack=True)
    body = wire.publish("", queue)
    assert [message.body for message in wire.must_take(1)] == [body]


@pytest.mark.slow
@pytest.mark.needs("message_ttl_message", "dead_letter")
@pytest.mark.normative(f"{EXPIRATION}01")
@ahead
def test_expiration_property_expires_the_message(wires):
    wire = wires()
    queue, grave = grave_of(wire)
    began = time.monotonic()
    body = wire.publish("", queue, expiration="500")
    must_arrive(wire, grave, body, after=0.5, since=began)


@pytest.mark.needs("message_ttl_message")
@pytest.mark.normative(f"{EXPIRATION}01")
def test_expiration_reaches_the_consumer_in_time(wire):
    queue = wire.queue()
    wire.publish("", queue, expiration="60000")
    assert [message.properties for message in wire.drained(queue)] == [{"expiration": "60000"}]


@pytest.mark.needs("message_ttl_message")
@pytest.mark.normative(f"{EXPIRATION}02")
@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "10 s", ""], ids=repr)
def test_expiration_that_is_no_number_is_refused_with_406(wire, value):
    wire.send_content("", wire.queue(), properties={"expiration": value})
    wire.must_refuse(406)


@pytest.mark.slow
@pytest.mark.needs("message_ttl_message", "message_ttl_queue", "dead_letter")
@pytest.mark.normative(f"{EXPIRATION}03")
@pytest.mark.parametrize(("of_queue", "of_message"), [(400, "60000"), (60000, "400")])
@ahead
def test_lower_of_both_periods_applies(wires, of_queue, of_message):
    wire = wires()
    queue, grave = grave_of(wire, **{"x-message-ttl": of_queue})
    began = time.monotonic()
    body = wire.publish("", queue, expiration=of_message)
    must_arrive(wire, grave, body, after=0.4, since=began)


@pytest.mark.slow
@pytest.mark.needs("queue_ttl")
@pytest.mark.normative(f"{EXPIRES}01")
@ahead
def test_unused_queue_expires(wires):
    """Looking at the queue would be a use: it is looked at once, well after its time."""
    wire = wires()
    queue = wire.queue(shared=True, arguments={"x-expires": 500})
    wire.wait(0.5 + SLACK)
    wire.send("queue.declare", queue=queue, passive=True)
    wire.must_refuse(404, fenced=False)


@pytest.mark.slow
@pytest.mark.needs("queue_ttl")
@pytest.mark.normative(f"{EXPIRES}01")
@pytest.mark.parametrize("use", ["consumer", "get", "redeclare"])
@ahead
def test_use_of_a_queue_puts_its_expiry_off(wires, use):
    """Used every 0.6 s for longer than its time."""
    wire = wires()
    queue = wire.queue(shared=True, arguments=UNUSED)
    if use == "consumer":
        wire.consume(queue)
    used = time.monotonic()
    for _ in range(6):
        wire.wait(0.6)
        if use == "get":
            must_answer(wire, used, "basic.get", "basic.get-empty", queue=queue)
        if use == "redeclare":
            must_answer(wire, used, "queue.declare", "queue.declare-ok", queue=queue, durable=True, arguments=UNUSED)
        used = time.monotonic()
    must_answer(wire, used, "queue.declare", "queue.declare-ok", queue=queue, passive=True)


def must_answer(wire, used, name, answer, **arguments):
    """Accuse the broker unless the method finds the queue, that was used lately.

    Raises Blocked where it was not: ours was the delay.
    """
    wire.send(name, **arguments)
    late = time.monotonic() - used
    try:
        wire.must_receive(answer)
    except Deviation:
        if late * 1000 > UNUSED["x-expires"] - 500:
            raise Blocked(f"this machine was too busy: {late:.1f} s between two uses of the queue") from None
        raise


@pytest.mark.needs("queue_ttl")
@pytest.mark.normative(f"{EXPIRES}02")
@pytest.mark.parametrize("value", [0, -1, "1000"], ids=repr)
def test_queue_expiry_that_is_no_period_is_refused_with_406(wire, value):
    name = wire.things.queue(remove=False)
    wire.send("queue.declare", queue=name, exclusive=True, arguments={"x-expires": value})
    wire.must_refuse(406, fenced=False)


@pytest.mark.slow
@pytest.mark.needs("consumer_timeout")
@pytest.mark.normative("amqp-0-9-1:consumer-timeout/01")
@ahead
def test_delivery_that_stays_unacknowledged_for_too_long_is_answered(wires):
    """The channel closes with 406, or the consumer is cancelled where the client can be told of it."""
    wire = wires()
    queue = wire.queue(arguments={"x-consumer-timeout": 1000})
    wire.publish("", queue)
    wire.consume(queue)
    wire.receive()
    end = wire.must_receive("channel.close", "basic.cancel", channel=1, seconds=10.0)
    code = end.arguments.get("reply_code", 406)
    check(code == 406, expected="channel.close 406", actual=f"channel.close {code}")
