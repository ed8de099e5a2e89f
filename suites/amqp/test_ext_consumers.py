"""Extensions of AMQP 0-9-1 to queues and consumers: priorities, single active consumer, cancel notification."""

import pytest
from mqproof.harness.wires.amqp import CAPABILITIES

PRIORITY = "amqp-0-9-1:priority-queue/"
CONSUMER = "amqp-0-9-1:consumer-priority/"
SINGLE = "amqp-0-9-1:single-active-consumer/"
NOTIFY = "amqp-0-9-1:consumer-cancel-notify/"
ALONE = {"x-single-active-consumer": True}


def fetched(wire, queue, number):
    return [message.properties.get("priority") for message in (wire.get(queue) for _ in range(number)) if message]


@pytest.mark.needs("priority_queue")
@pytest.mark.normative(f"{PRIORITY}01")
def test_priority_queue_hands_out_higher_priorities_first(wire):
    queue = wire.queue(arguments={"x-max-priority": 5})
    bodies = {number: wire.publish("", queue, priority=level) for number, level in enumerate((1, 5, 3, 5, 1, 3))}
    got = [message.body for message in (wire.get(queue) for _ in range(6)) if message]
    assert got == [bodies[number] for number in (1, 3, 2, 5, 0, 4)]


@pytest.mark.needs("priority_queue")
@pytest.mark.normative(f"{PRIORITY}02")
def test_priority_above_the_maximum_counts_as_the_maximum_and_none_as_zero(wire):
    queue = wire.queue(arguments={"x-max-priority": 3})
    values = (None, 9, 3, 0, 1)
    for value in values:
        wire.publish("", queue, **({} if value is None else {"priority": value}))
    assert fetched(wire, queue, 5) == [9, 3, 1, None, 0]


@pytest.mark.needs("priority_queue")
@pytest.mark.normative(f"{PRIORITY}03")
@pytest.mark.parametrize("value", [-1, 256, "5"], ids=repr)
def test_maximum_priority_out_of_range_is_refused_with_406(wire, value):
    name = wire.things.queue(remove=False)
    wire.send("queue.declare", queue=name, exclusive=True, arguments={"x-max-priority": value})
    wire.must_refuse(406, fenced=False)


@pytest.mark.needs("consumer_priorities")
@pytest.mark.normative(f"{CONSUMER}01", f"{CONSUMER}02")
def test_consumer_of_higher_priority_is_served_first_while_it_has_room(wires):
    low, high, publisher = wires(), wires(), wires()
    queue = publisher.queue(shared=True)
    low.consume(queue, prefetch=10, arguments={"x-priority": 1})
    high.consume(queue, prefetch=3, arguments={"x-priority": 9})
    bodies = [publisher.publish("", queue) for _ in range(5)]
    got = [[message.body for message in wire.must_have(number)] for wire, number in ((high, 3), (low, 2))]
    assert got == [bodies[:3], bodies[3:]]


@pytest.mark.needs("consumer_priorities")
@pytest.mark.normative(f"{CONSUMER}03")
@pytest.mark.parametrize("value", ["high", 1.5], ids=repr)
def test_consumer_priority_that_is_no_integer_is_refused_with_406(wire, value):
    wire.send("basic.consume", queue=wire.queue(), arguments={"x-priority": value})
    wire.must_refuse(406, fenced=False)


@pytest.mark.needs("single_active_consumer")
@pytest.mark.normative(f"{SINGLE}01")
def test_only_the_first_of_several_consumers_is_active(wires):
    publisher, first, second = wires(), wires(), wires()
    queue = publisher.queue(shared=True, arguments=ALONE)
    first.consume(queue, no_ack=True)
    second.consume(queue, no_ack=True)
    bodies = [publisher.publish("", queue) for _ in range(4)]
    got = [[message.body for message in wire.must_have(number)] for wire, number in ((first, 4), (second, 0))]
    assert got == [bodies, []]


@pytest.mark.needs("single_active_consumer")
@pytest.mark.normative(f"{SINGLE}02")
@pytest.mark.parametrize("end", ["cancel", "channel", "connection", "socket"])
def test_next_consumer_takes_over_when_the_active_one_goes(wires, end):
    publisher, first, second = wires(), wires(), wires()
    queue = publisher.queue(shared=True, arguments=ALONE)
    first.consume(queue, consumer_tag="first", no_ack=True)
    second.consume(queue, no_ack=True)
    ends = {
        "cancel": lambda: first.call("basic.cancel", consumer_tag="first"),
        "channel": first.close_channel,
        "connection": first.close_connection,
        "socket": first.cut,
    }
    ends[end]()
    body = publisher.publish("", queue)
    if end == "socket":
        publisher.must_settle(
            lambda: publisher.call("queue.declare", queue=queue, passive=True).arguments["consumer_count"] == 1,
            "the broker to notice that the connection has gone",
        )
        body = publisher.publish("", queue)
    assert second.must_take(1)[0].body == body or second.must_take(1)[0].body == body


@pytest.mark.needs("single_active_consumer")
@pytest.mark.normative(f"{SINGLE}03")
def test_exclusive_consumer_on_such_a_queue_is_refused_with_403(wire):
    wire.send("basic.consume", queue=wire.queue(arguments=ALONE), exclusive=True)
    wire.must_refuse(403, fenced=False)


@pytest.mark.needs("consumer_cancel_notify")
@pytest.mark.normative(f"{NOTIFY}01")
def test_client_is_told_when_the_queue_of_its_consumer_is_deleted(wires):
    owner, worker = wires(), wires()
    queue = owner.queue(shared=True)
    worker.consume(queue, consumer_tag="worker")
    owner.call("queue.delete", queue=queue)
    worker.must_receive("basic.cancel", channel=1, consumer_tag="worker")


@pytest.mark.needs("consumer_cancel_notify")
@pytest.mark.normative(f"{NOTIFY}02")
def test_client_without_the_capability_is_not_told(wires):
    """Both consumers lose their queue at once; when the one has been told, the other has a fence to show nothing."""
    owner, told, untold = wires(), wires(), wires.raw()
    untold.open(capabilities={**CAPABILITIES, "consumer_cancel_notify": False})
    queue = owner.queue(shared=True)
    told.consume(queue)
    untold.consume(queue)
    owner.call("queue.delete", queue=queue)
    told.expect("basic.cancel")
    untold.fence()
    assert untold.arrived("basic.cancel") == []


@pytest.mark.needs("consumer_cancel_notify")
@pytest.mark.normative(f"{NOTIFY}03")
def test_cancel_of_a_consumer_that_the_broker_cancelled_is_answered_by_ok(wires):
    owner, worker = wires(), wires()
    queue = owner.queue(shared=True)
    worker.consume(queue, consumer_tag="worker")
    owner.call("queue.delete", queue=queue)
    worker.expect("basic.cancel")
    worker.send("basic.cancel", consumer_tag="worker")
    worker.must_receive("basic.cancel-ok", consumer_tag="worker")
