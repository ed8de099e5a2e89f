"""What changed between versions of brokers and broke applications.

Those that belong to a section stand there: the smallest frame-max (``test_connection_negotiation``), the effect of a
channel-wide window (``test_basic_qos_recover``, ``test_ext_quorum_stream``), mandatory replies (``test_ext_reply_to``),
the consumer timeout (``test_ext_expiry``), the largest message (``test_basic_publish``), a channel that is closed twice
(``test_2_3_7_closing``).
"""

import pytest
from mqproof.harness.verdicts import check

ODD_ARGUMENTS = [{"x-queue-mqproof": "odd"}, {"x-queue-mqproof-limit": 5}]


@pytest.mark.normative("amqp-0-9-1:queue.declare.durable/types")
def test_transient_queue_that_others_may_use_can_be_declared(wire):
    """Section 3.1.4 knows transient queues, and nothing ties them to one connection."""
    name = wire.things.queue()
    wire.send("queue.declare", queue=name, durable=False, exclusive=False)
    wire.must_receive("queue.declare-ok", queue=name)


@pytest.mark.normative("amqp-0-9-1:queue.declare.passive/equivalent")
@pytest.mark.parametrize("arguments", ODD_ARGUMENTS, ids=lambda arguments: next(iter(arguments)))
def test_unknown_queue_argument_is_taken_again_or_refused(wire, arguments):
    """What arguments mean is the server's own, and how it refuses them; one that is taken must be taken again."""
    name = wire.things.queue(remove=False)
    wire.open_channel(2)
    wire.send("queue.declare", channel=2, queue=name, exclusive=True, arguments=arguments)
    answer = wire.must_receive("queue.declare-ok", "channel.close", "connection.close")
    if answer.name == "queue.declare-ok":
        wire.send("queue.declare", channel=2, queue=name, exclusive=True, arguments=arguments)
        wire.must_receive("queue.declare-ok", channel=2, queue=name)
    elif answer.name == "channel.close":
        wire.send("channel.close-ok", channel=2)
        wire.must_accept()


@pytest.mark.normative("amqp-0-9-1:queue.declare.passive/passive")
def test_passive_declare_by_a_user_without_rights_is_answered_or_refused_on_its_channel(wires):
    """To ask whether a queue exists may need a right, and may not: either way the client is told at once."""
    queue, stranger = wires().queue(shared=True), wires.stranger()
    stranger.send("queue.declare", queue=queue, passive=True)
    answer = stranger.must_receive("queue.declare-ok", "channel.close", channel=1)
    code = answer.arguments.get("reply_code", 403)
    check(code == 403, expected="queue.declare-ok or channel.close 403", actual=f"channel.close {code}")


@pytest.mark.normative("amqp-0-9-1:basic.ack.multiple/exists", "amqp-0-9-1:basic/10")
def test_cumulative_ack_across_a_settled_tag_settles_the_others(wire):
    """The tag itself is outstanding; that one below it is not must not matter."""
    queue = wire.queue()
    bodies = [wire.publish("", queue) for _ in range(4)]
    wire.open_channel(2)
    wire.consume(queue, channel=2)
    tags = [message.delivery_tag for message in wire.take(4, channel=2)]
    wire.ack(tags[1], channel=2)
    wire.ack(tags[2], multiple=True, channel=2)
    wire.must_accept(channel=2)
    wire.close_channel(2)
    assert wire.drain(queue) == bodies[3:]


@pytest.mark.normative("amqp-0-9-1:basic.ack.multiple/exists")
def test_cumulative_ack_up_to_a_settled_tag_is_carried_out_or_refused(wire):
    """The tag was delivered and is settled: 406, or the ones below it are settled; nothing between the two."""
    queue = wire.queue()
    bodies = [wire.publish("", queue) for _ in range(3)]
    wire.open_channel(2)
    wire.consume(queue, channel=2)
    tags = [message.delivery_tag for message in wire.take(3, channel=2)]
    wire.ack(tags[1], channel=2)
    wire.ack(tags[1], multiple=True, channel=2)
    wire.send("exchange.declare", channel=2, exchange="amq.direct", type="direct", passive=True)
    answer = wire.must_receive("exchange.declare-ok", "channel.close", channel=2)
    is_refused = answer.name == "channel.close"
    if is_refused:
        check(answer.arguments["reply_code"] == 406, expected="channel.close 406", actual=answer.arguments)
        wire.send("channel.close-ok", channel=2)
    else:
        wire.close_channel(2)
    assert wire.drain(queue) == (bodies[::2] if is_refused else bodies[2:])


@pytest.mark.needs("dead_letter")
@pytest.mark.normative("amqp-0-9-1:dead-letter/05")
def test_deaths_of_a_message_that_is_published_again_are_counted_once(wire):
    """A client may send x-death itself: a server goes on counting or begins anew, in one entry for queue and reason."""
    grave = wire.queue()
    letter = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave}
    queue = wire.queue(arguments=letter)
    wire.publish("", queue)
    bury(wire, queue)
    first = wire.get(grave)
    wire.publish("", queue, headers=dict(first.properties["headers"]))
    bury(wire, queue)
    second = wire.get(grave)
    deaths = [(death["queue"], death["reason"]) for death in second.headers.get("x-death", [])]
    assert deaths == [(queue, "rejected")]
    assert second.headers["x-death"][0]["count"] in (1, 2)


def bury(wire, queue):
    """Reject the first message of a queue, and see that it has gone on."""
    wire.send("basic.reject", delivery_tag=wire.get(queue, no_ack=False).delivery_tag, requeue=False)
    wire.fence()


@pytest.mark.needs("quorum_queues", "dead_letter")
@pytest.mark.normative("amqp-0-9-1:quorum-queue/03")
def test_message_that_keeps_failing_stays_or_is_dead_lettered_by_a_limit_that_nobody_set(wire):
    """Some versions set a limit of 20 of their own: the message is then where dead letters go, and never lost."""
    exchange = wire.exchange("fanout")
    wire.consume(wire.queue(exchange=exchange), no_ack=True)
    queue = wire.queue(shared=True, arguments={"x-queue-type": "quorum", "x-dead-letter-exchange": exchange})
    body = wire.publish("", queue)
    for channel in range(2, 26):  # losing the consumer counts in every version
        wire.open_channel(channel)
        wire.consume(queue, channel=channel)
        message = wire.must_receive("basic.deliver")
        if message.channel == 1:
            break
        wire.close_channel(channel)
    deaths = [death["reason"] for death in message.headers.get("x-death", [])]
    assert (message.body, deaths) == (body, ["delivery_limit"] if message.channel == 1 else [])
