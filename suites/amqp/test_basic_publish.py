"""AMQP 0-9-1 class basic: publish, return, priorities."""

import pytest
from mqproof.dissectors.amqp.codec import RawFrame, encode
from mqproof.dissectors.amqp.tables import FrameType
from mqproof.harness.verdicts import Unsupported, Untested, check
from mqproof.harness.wires.amqp_link import STEP, within
from mqproof.harness.wires.amqp_message import tell


@pytest.mark.normative("amqp-0-9-1:basic.publish.exchange/must-exist")
def test_publish_to_a_missing_exchange_gives_404(wire):
    wire.send_content(wire.things.absent(), "k")
    wire.must_refuse(404)


@pytest.mark.normative("amqp-0-9-1:basic.publish.exchange/default-exchange")
def test_empty_exchange_name_in_publish_means_the_default_exchange(wire):
    queue, other = wire.queue(), wire.queue()
    body = wire.send_content("", queue)
    wire.fence()
    wire.send("basic.get", queue=queue, no_ack=True)
    got = wire.must_receive("basic.get-ok")
    assert (got.body, got.exchange, got.routing_key, wire.drain(other)) == (body, "", queue, [])


@pytest.mark.normative("amqp-0-9-1:exchange/default-access")
@pytest.mark.parametrize("name", ["default", "amq.default", "amq.", "(AMQP default)"])
def test_default_exchange_has_no_other_name(wire, name):
    wire.send_content(name, wire.queue())
    wire.must_refuse(404, 403)


@pytest.mark.normative("amqp-0-9-1:basic.publish.exchange/03")
def test_exchange_that_refuses_content_says_540(wire):
    """Which exchange refuses basic content is the broker's choice; the ones that all have must take it."""
    for exchange in ("amq.direct", "amq.fanout", ""):
        wire.send_content(exchange, wire.things.absent("key"))
    wire.send("exchange.declare", exchange="amq.direct", type="direct", passive=True)
    reaction = wire.expect("exchange.declare-ok", "channel.close", "connection.close")
    assert reaction.arguments.get("reply_code") in (None, 540)


@pytest.mark.normative("amqp-0-9-1:basic.publish.mandatory/01")
@pytest.mark.parametrize("exchange", ["direct", "topic", "fanout", "headers", ""])
def test_mandatory_message_that_no_queue_gets_is_returned(wire, exchange):
    key = wire.things.absent("key")
    name = exchange and wire.exchange(exchange)
    body = wire.send_content(name, key, mandatory=True, properties={"message_id": "m1"})
    returned = wire.must_receive("basic.return", reply_code=312)
    assert (returned.body, returned.exchange, returned.routing_key, returned.properties) == (
        body, name, key, {"message_id": "m1"}
    )  # fmt: skip


@pytest.mark.normative("amqp-0-9-1:basic.publish.mandatory/01")
def test_mandatory_message_that_a_queue_gets_is_not_returned(wire):
    queue = wire.queue()
    body = wire.send_content("", queue, mandatory=True)
    wire.fence()
    assert (wire.arrived("basic.return"), wire.drain(queue)) == ([], [body])


@pytest.mark.normative("amqp-0-9-1:basic.publish.mandatory/01")
def test_application_learns_which_message_was_unroutable(amqp):
    """Class tx does not define what mandatory means in a transaction, which is how pika publishes without confirms."""
    if not amqp.connection.publisher_confirms_supported:
        raise Untested("the broker announces no confirms")
    exchange = amqp.exchange("direct")
    body = amqp.things.body()
    returned = amqp.publish_mandatory(exchange, "nowhere", body)
    assert returned is not None
    assert (returned.body, returned.arguments["reply_code"]) == (body, 312)


@pytest.mark.normative("amqp-0-9-1:basic.publish.immediate/01")
def test_immediate_message_that_no_consumer_can_take_is_returned(wire):
    queue = wire.queue()
    body = wire.send_content("", queue, immediate=True)
    returned = wire.must_receive("basic.return", reply_code=313)
    assert returned.body == body


@pytest.mark.normative("amqp-0-9-1:basic.publish.immediate/01")
def test_immediate_message_reaches_a_waiting_consumer(wire):
    queue = wire.queue()
    wire.consume(queue, no_ack=True)
    wire.publish("", queue)
    wire.receive()  # it gets what is not immediate
    body = wire.send_content("", queue, immediate=True)
    assert [message.body for message in wire.must_take(1)] == [body]


@pytest.mark.normative("amqp-0-9-1:basic/06")
def test_two_bands_of_priority_are_honoured(wire):
    """0 to 4 and 5 to 9 are two levels, on any queue: the rule knows no argument that would ask for it."""
    queue = wire.queue()
    for value in (0, 9, 4, 5):
        wire.publish("", queue, priority=value)
    got = [wire.get(queue) for _ in range(4)]
    assert sorted(message.properties["priority"] >= 5 for message in got[:2] if message) == [True, True]


@pytest.mark.normative("amqp-0-9-1:basic/06", "amqp-0-9-1:basic/07")
def test_ten_levels_of_priority_are_honoured(wire):
    """Two bands are demanded, ten levels permitted."""
    queue = wire.queue()
    values = (3, 9, 0, 7, 1, 8, 2, 6, 4, 5)
    for value in values:
        wire.publish("", queue, priority=value)
    got = [wire.get(queue) for _ in values]
    levels = [message.properties["priority"] for message in got if message]
    bands = [level >= 5 for level in levels]
    check(bands == [True] * 5 + [False] * 5, expected="5 to 9 before 0 to 4", actual=levels)
    if levels != sorted(levels, reverse=True):
        raise Unsupported(f"there are fewer than ten levels: {levels}")


@pytest.mark.normative("amqp-0-9-1:basic/08")
def test_same_priority_keeps_its_order_whatever_the_persistence(wire):
    queue = wire.queue(shared=True)
    modes = (1, 2, 2, 1, None, 2, 1)
    bodies = [wire.publish("", queue, **({"delivery_mode": mode} if mode else {})) for mode in modes]
    assert wire.drain(queue) == bodies


@pytest.mark.normative("amqp-0-9-1:basic/05", "amqp-0-9-1:length-limit/01")
@pytest.mark.needs("length_limit")
def test_full_queue_may_drop_transient_messages(wire):
    queue = wire.queue(arguments={"x-max-length": 2})
    bodies = [wire.publish("", queue, delivery_mode=1) for _ in range(4)]
    kept = [message.body for message in (wire.get(queue) for _ in range(4)) if message]
    assert kept == bodies[2:]


@pytest.mark.normative("amqp-0-9-1:basic/02")
def test_large_backlog_of_persistent_messages_is_kept_whole(wire):
    """No limit is set: nothing may be discarded. (A client that sets x-max-length asks for it.)"""
    queue = wire.queue(shared=True)
    for number in range(500):
        wire.send_content("", queue, b"%03d" % number + b"x" * 1000, properties={"delivery_mode": 2})
    wire.consume(queue, no_ack=True)  # a count of messages may lag behind what was published
    assert len([wire.receive(), *wire.must_take(499)]) == 500


@pytest.mark.needs("validated_user_id")
@pytest.mark.normative("amqp-0-9-1:validated-user-id/01")
def test_user_id_of_the_login_passes_and_reaches_the_consumer(wire):
    queue, user = wire.queue(), wire.target.user or "guest"
    wire.send_content("", queue, properties={"user_id": user})
    wire.must_accept()
    (message,) = wire.drained(queue)
    assert message.properties == {"user_id": user}


@pytest.mark.needs("validated_user_id")
@pytest.mark.normative("amqp-0-9-1:validated-user-id/01")
def test_user_id_of_somebody_else_is_refused_with_406(wire):
    wire.send_content("", wire.queue(), properties={"user_id": "mqproof-somebody-else"})
    wire.must_refuse(406)


@pytest.mark.slow
@pytest.mark.needs("max_message_size")
@pytest.mark.normative("amqp-0-9-1:max-message-size/01")
def test_message_above_the_largest_size_is_refused_with_406(wire):
    """The limit is not announced; 16 MiB is common, 128 MiB an older one: what is larger than both must be refused."""
    size = 16 * 1024 * 1024 + 1
    queue = wire.queue()
    wire.send_content("", queue, bytes(size))
    wire.send("exchange.declare", exchange="amq.direct", type="direct", passive=True)
    reaction = wire.expect("exchange.declare-ok", "channel.close", "connection.close")
    if reaction.name == "exchange.declare-ok":
        raise Untested(f"the broker takes messages of {size} octets, and more are not tried")
    assert (tell(reaction).split(" (")[0], wire.arrived("basic.ack")) == ("channel.close 406", [])


@pytest.mark.needs("access_request")
@pytest.mark.normative("amqp-0-9-1:access-request/01")
def test_access_request_of_version_0_8_is_granted(wire):
    """Class 30, method 10: realm, exclusive, passive, active, write, read; the answer is 30.11 with a ticket."""
    wire.send(RawFrame(FrameType.METHOD, 1, b"\x00\x1e\x00\x0a" + b"\x05/data" + b"\x1e"))
    octets = wire.connection.receive(within(STEP))  # no table of 0-9-1 has this class
    assert octets == encode(RawFrame(FrameType.METHOD, 1, b"\x00\x1e\x00\x0b\x00\x01"))
