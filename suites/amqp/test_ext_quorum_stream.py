"""Extensions of AMQP 0-9-1: quorum queues and streams, as far as one client sees them."""

import pytest
from mqproof.suites.amqp.ahead import ahead

QUORUM = "amqp-0-9-1:quorum-queue/"
STREAM = "amqp-0-9-1:stream-queue/"


def quorum(wire, **arguments):
    return wire.queue(shared=True, arguments={"x-queue-type": "quorum"} | arguments)


def stream(wire, number=0, **arguments):
    """Declare a stream with so many messages; return its name and their bodies."""
    queue = wire.queue(shared=True, arguments={"x-queue-type": "stream"} | arguments)
    return queue, [wire.publish("", queue) for _ in range(number)]


def attach(wire, queue, offset, channel=3):
    """Start reading at an offset."""
    wire.open_channel(channel)
    wire.call("basic.qos", channel=channel, prefetch_count=100)
    wire.send("basic.consume", channel=channel, queue=queue, arguments={"x-stream-offset": offset})
    wire.must_receive("basic.consume-ok", channel=channel)


def read(wire, queue, number, offset):
    """Read and acknowledge so many messages from an offset on a channel of its own, and return them."""
    attach(wire, queue, offset)
    got = wire.must_take(number, channel=3)
    wire.ack(0, multiple=True, channel=3)
    wire.close_channel(3)
    wire.arrived("basic.deliver", channel=3)
    return got


@pytest.mark.needs("quorum_queues")
@pytest.mark.normative(f"{QUORUM}01")
@pytest.mark.parametrize(
    "options",
    [{"durable": False}, {"durable": True, "exclusive": True}, {"durable": True, "auto_delete": True}],
    ids=["transient", "exclusive", "auto-delete"],
)
def test_quorum_queue_is_durable_shared_and_stays(wire, options):
    wire.send("queue.declare", queue=wire.things.queue(), arguments={"x-queue-type": "quorum"}, **options)
    wire.must_refuse(406, fenced=False)


@pytest.mark.needs("quorum_queues")
@pytest.mark.normative(f"{QUORUM}02")
def test_lost_consumer_raises_the_delivery_count(wire):
    queue = quorum(wire)
    wire.publish("", queue)
    counts = []
    for channel in (2, 3, 4):
        wire.open_channel(channel)
        wire.consume(queue, channel=channel)
        (message,) = wire.must_take(1, channel=channel)
        counts.append(message.headers.get("x-delivery-count", 0))
        wire.close_channel(channel)
    assert counts == [0, 1, 2]


@pytest.mark.needs("quorum_queues", "dead_letter")
@pytest.mark.normative(f"{QUORUM}03")
def test_message_over_the_delivery_limit_is_dead_lettered(wire):
    exchange = wire.exchange("fanout")
    grave = wire.queue(exchange=exchange)
    queue = quorum(wire, **{"x-delivery-limit": 2, "x-dead-letter-exchange": exchange})
    body = wire.publish("", queue)
    for channel in (2, 3, 4):  # losing the consumer counts in every version
        wire.open_channel(channel)
        wire.consume(queue, channel=channel)
        wire.must_take(1, channel=channel)
        wire.close_channel(channel)
    wire.consume(grave, no_ack=True)
    (letter,) = wire.must_take(1)
    assert (letter.body, letter.headers["x-death"][0]["reason"]) == (body, "delivery_limit")


@pytest.mark.needs("quorum_queues")
@pytest.mark.normative(f"{QUORUM}04")
def test_channel_wide_window_is_refused_or_read_as_the_consumers_own(wire):
    """540 where the flag has a meaning of its own; later versions accept it and treat it as false."""
    queues = [quorum(wire) for _ in range(2)]
    for queue in queues:
        for _ in range(3):
            wire.publish("", queue)
    wire.call("basic.qos", prefetch_count=2, global_=True)
    wire.send("basic.consume", queue=queues[0])
    reaction = wire.must_receive("basic.consume-ok", "connection.close")
    if reaction.name == "connection.close":
        assert reaction.arguments["reply_code"] == 540
        return
    wire.consume(queues[1])
    assert len(wire.must_take(4)) == 4
    assert wire.deliveries() == []


@pytest.mark.needs("streams")
@pytest.mark.normative(f"{STREAM}01")
def test_stream_has_to_be_durable(wire):
    wire.send("queue.declare", queue=wire.things.queue(), durable=False, arguments={"x-queue-type": "stream"})
    wire.must_refuse(406, fenced=False)


@pytest.mark.needs("streams")
@pytest.mark.normative(f"{STREAM}01")
@pytest.mark.parametrize("fault", ["no prefetch", "no ack"])
def test_reading_a_stream_needs_a_prefetch_count_and_acks(wire, fault):
    queue, _ = stream(wire)
    if fault == "no ack":
        wire.call("basic.qos", prefetch_count=10)
    wire.send("basic.consume", queue=queue, no_ack=fault == "no ack")
    wire.must_refuse(406, 540, fenced=False)


@pytest.mark.needs("streams")
@pytest.mark.normative(f"{STREAM}02")
@pytest.mark.parametrize(("offset", "first"), [("first", 0), (0, 0), (3, 3)], ids=str)
def test_offset_selects_where_reading_begins(wire, offset, first):
    queue, bodies = stream(wire, 6)
    got = read(wire, queue, 6 - first, offset)
    assert [(message.body, message.headers.get("x-stream-offset")) for message in got] == [
        (body, number) for number, body in enumerate(bodies)
    ][first:]


@pytest.mark.needs("streams")
@pytest.mark.normative(f"{STREAM}02")
def test_offset_next_reads_what_comes_from_now_on(wire):
    queue, _ = stream(wire, 3)
    attach(wire, queue, "next")
    body = wire.publish("", queue)
    assert [message.body for message in wire.must_take(1)] == [body]


@pytest.mark.needs("streams")
@pytest.mark.normative(f"{STREAM}03")
def test_reading_a_stream_takes_nothing_away(wire):
    queue, bodies = stream(wire, 4)
    twice = [[message.body for message in read(wire, queue, 4, "first")] for _ in range(2)]
    assert twice == [bodies, bodies]


@pytest.mark.needs("streams")
@pytest.mark.normative(f"{STREAM}03")
def test_get_from_a_stream_is_refused_with_540(wire):
    queue, _ = stream(wire, 1)
    wire.send("basic.get", queue=queue)
    wire.must_refuse(540, fenced=False)


@pytest.mark.slow
@pytest.mark.needs("streams")
@pytest.mark.normative(f"{STREAM}04")
@ahead
def test_old_segments_of_a_stream_are_trimmed(wires):
    """The smallest segments, and more octets than three of them may hold: the first message must be gone."""
    wire = wires()
    limits = {"x-max-length-bytes": 100_000, "x-stream-max-segment-size-bytes": 50_000}
    queue, _ = stream(wire, **limits)
    for _ in range(40):
        wire.publish("", queue, bytes(10_000))
    wire.must_settle(lambda: first_offset(wire, queue) > 0, "the first segment trimmed", every=0.2)


def first_offset(wire, queue):
    (message,) = read(wire, queue, 1, "first")
    return message.headers.get("x-stream-offset", 0)
