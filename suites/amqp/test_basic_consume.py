"""AMQP 0-9-1 class basic: consume, cancel, deliver, get; section 3.1.4: who gets a message."""

import pytest
from mqproof.harness.verdicts import check
from mqproof.harness.wires.amqp_message import tell

CONSUME = "amqp-0-9-1:basic.consume"


@pytest.mark.normative(f"{CONSUME}/01")
def test_sixteen_consumers_share_a_queue(wire):
    """Each has room for one message, so that all of them are needed for sixteen."""
    queue = wire.queue()
    for channel in range(2, 18):
        wire.open_channel(channel)
        wire.call("basic.qos", channel=channel, prefetch_count=1)
        wire.send("basic.consume", channel=channel, queue=queue, consumer_tag=f"worker-{channel}")
        wire.must_receive("basic.consume-ok", channel=channel, consumer_tag=f"worker-{channel}")
    bodies = [wire.publish("", queue) for _ in range(16)]
    came = [wire.receive(), *wire.must_take(15)]
    assert sorted(message.body for message in came) == sorted(bodies)


@pytest.mark.normative(f"{CONSUME}.consumer-tag/01")
def test_consumer_tag_in_use_is_refused_with_530(wire):
    queue = wire.queue()
    wire.consume(queue, consumer_tag="mine")
    wire.send("basic.consume", queue=queue, consumer_tag="mine")
    wire.must_refuse(530, fenced=False)


@pytest.mark.normative(f"{CONSUME}.consumer-tag/01")
def test_consumer_tag_is_free_again_after_cancel(wire):
    queue = wire.queue()
    for _ in range(2):
        wire.send("basic.consume", queue=queue, consumer_tag="mine")
        wire.must_receive("basic.consume-ok", consumer_tag="mine")
        wire.call("basic.cancel", consumer_tag="mine")


@pytest.mark.normative(f"{CONSUME}.consumer-tag/02")
def test_same_consumer_tag_works_on_two_channels(wire):
    wire.open_channel(2)
    for channel in (1, 2):
        queue = wire.queue()
        wire.send("basic.consume", channel=channel, queue=queue, consumer_tag="mine")
        wire.must_receive("basic.consume-ok", channel=channel, consumer_tag="mine")
        wire.publish("", queue)
        assert wire.must_receive("basic.deliver", channel=channel).consumer_tag == "mine"


@pytest.mark.normative(f"{CONSUME}.consumer-tag/02")
def test_consumer_tag_of_another_channel_is_refused_with_530_or_cancels_nothing(wire):
    """Only basic.cancel can use a tag, and the text does not say that it fails where there is nothing to cancel."""
    queue = wire.queue()
    wire.consume(queue, consumer_tag="mine")
    wire.open_channel(2)
    wire.send("basic.cancel", channel=2, consumer_tag="mine")
    reaction = wire.must_receive("basic.cancel-ok", "channel.close", "connection.close")
    if reaction.name == "basic.cancel-ok":
        wire.publish("", queue)
        assert wire.must_receive("basic.deliver", channel=1).consumer_tag == "mine"
    else:
        is_refused = (reaction.name, reaction.arguments["reply_code"]) == ("connection.close", 530)
        check(is_refused, expected="connection.close 530 or basic.cancel-ok", actual=tell(reaction))


@pytest.mark.normative(f"{CONSUME}.consumer-tag/02")
def test_consumer_survives_a_cancel_on_another_channel(wires):
    wire, other = wires(), wires()
    queue = wire.queue(shared=True)
    wire.consume(queue, consumer_tag="mine")
    other.send("basic.cancel", consumer_tag="mine")
    other.expect("basic.cancel-ok", "channel.close", "connection.close")
    wire.publish("", queue)
    assert wire.must_receive("basic.deliver").consumer_tag == "mine"


@pytest.mark.normative(f"{CONSUME}.exclusive/01")
@pytest.mark.parametrize("first", [False, True], ids=["shared first", "exclusive first"])
def test_exclusive_consumer_is_refused_beside_another_with_403(wire, first):
    queue = wire.queue()
    wire.consume(queue, exclusive=first)
    wire.open_channel(2)
    wire.send("basic.consume", channel=2, queue=queue, exclusive=not first)
    wire.must_refuse(403, channel=2, fenced=False)


@pytest.mark.normative(f"{CONSUME}.exclusive/01")
def test_exclusive_consumer_is_accepted_when_others_have_gone(wire):
    queue = wire.queue()
    wire.consume(queue, consumer_tag="before")
    wire.call("basic.cancel", consumer_tag="before")
    wire.send("basic.consume", queue=queue, exclusive=True)
    wire.must_receive("basic.consume-ok")


@pytest.mark.normative("amqp-0-9-1:4.6/synchronous-effects")
def test_empty_consumer_tag_gets_a_name_of_the_brokers_own(wire):
    queue = wire.queue()
    tags = [wire.call("basic.consume", queue=queue).arguments["consumer_tag"] for _ in range(3)]
    assert (len(set(tags)), "" in tags) == (3, False)


@pytest.mark.normative("amqp-0-9-1:4.6/synchronous-effects")
def test_nowait_consume_is_not_answered_and_works(wire):
    queue = wire.queue()
    wire.send("basic.consume", queue=queue, consumer_tag="quiet", no_wait=True, no_ack=True)
    wire.fence()
    body = wire.publish("", queue)
    assert [message.body for message in wire.must_take(1)] == [body]
    assert wire.arrived("basic.consume-ok") == []


@pytest.mark.normative("amqp-0-9-1:3.1.6/cancel-stops")
def test_messages_not_acknowledged_before_cancel_can_be_acknowledged_after_it(wire):
    queue = wire.queue()
    wire.publish("", queue)
    wire.consume(queue, consumer_tag="worker")
    tag = wire.receive().delivery_tag
    wire.call("basic.cancel", consumer_tag="worker")
    wire.ack(tag)
    wire.must_accept()
    assert wire.drain(queue) == []


@pytest.mark.normative("amqp-0-9-1:3.1.4/one-client")
def test_each_message_goes_to_one_of_several_consumers(amqp, wires):
    queue = amqp.queue(shared=True)
    workers = [wires() for _ in range(3)]
    for worker in workers:
        worker.consume(queue, no_ack=True)
    bodies = [amqp.publish("", queue) for _ in range(30)]
    got: list[bytes] = []
    for _ in range(50):  # a queue may be slower than the fences of its consumers
        got += [message.body for worker in workers for message in worker.deliveries()]
        if len(got) >= len(bodies):
            break
    assert sorted(got) == sorted(bodies)


@pytest.mark.normative("amqp-0-9-1:3.1.4/one-client")
def test_each_consumer_of_a_busy_queue_gets_its_share(amqp, wires):
    """Fairness in the widest sense: with equal windows nobody goes without."""
    queue = amqp.queue(shared=True)
    workers = [wires() for _ in range(3)]
    for worker in workers:
        worker.consume(queue, prefetch=2)
    for _ in range(6):
        amqp.publish("", queue)
    assert [len(worker.must_take(2)) for worker in workers] == [2, 2, 2]


@pytest.mark.normative("amqp-0-9-1:4.6/synchronous-effects")
def test_get_tells_how_many_messages_remain(wire):
    queue = wire.queue()
    bodies = [wire.publish("", queue) for _ in range(3)]
    got = [wire.get(queue) for _ in range(3)]
    assert [(message.body, message.arguments["message_count"]) for message in got] == [
        (bodies[0], 2), (bodies[1], 1), (bodies[2], 0)
    ]  # fmt: skip


@pytest.mark.normative("amqp-0-9-1:4.6/synchronous-effects")
def test_get_of_an_empty_queue_is_answered_by_get_empty(wire):
    queue = wire.queue()
    wire.publish("", queue)
    wire.get(queue)  # there is such a method
    wire.send("basic.get", queue=queue)
    wire.must_receive("basic.get-empty")


@pytest.mark.normative("amqp-0-9-1:4.8.1/channel-exception")
@pytest.mark.parametrize("name", ["basic.get", "basic.consume"])
def test_reading_a_missing_queue_closes_the_channel(wire, name):
    wire.call(name, queue=wire.queue())  # there is such a method
    wire.send(name, queue=wire.things.absent())
    wire.must_receive("channel.close")


@pytest.mark.needs("dead_letter")
@pytest.mark.normative("amqp-0-9-1:basic.deliver/01")
def test_message_that_is_never_settled_ends_in_a_dead_letter_queue(wire):
    """Advised by the text, with five times as an example: after fifty a broker that counts would have noticed."""
    graves = wire.queue()
    queue = wire.queue(arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": graves})
    body = wire.publish("", queue)
    for _ in range(50):
        message = wire.get(queue, no_ack=False)
        if message is None:
            break
        wire.send("basic.reject", delivery_tag=message.delivery_tag, requeue=True)
    assert wire.drain(graves) == [body]


@pytest.mark.normative("amqp-0-9-1:basic.reject/01", "amqp-0-9-1:basic.nack/01")
@pytest.mark.parametrize(
    "refuse",
    [
        pytest.param("basic.reject", marks=pytest.mark.normative("amqp-0-9-1:basic.reject/01")),
        pytest.param(
            "basic.nack", marks=[pytest.mark.normative("amqp-0-9-1:basic.nack/01"), pytest.mark.needs("basic.nack")]
        ),
    ],
)
def test_refusal_is_taken_while_a_large_content_is_on_its_way(wire, refuse):
    """The client refuses the first message at once, with megabytes still to come."""
    queue = wire.queue()
    for _ in range(4):
        wire.publish("", queue, bytes(1_000_000))
    wire.consume(queue)
    first = wire.receive()
    wire.send(refuse, delivery_tag=first.delivery_tag, requeue=False)
    assert len(wire.must_take(3)) == 3
    wire.must_accept()
