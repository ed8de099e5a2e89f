"""Extensions of AMQP 0-9-1: dead-letter exchanges, and limits to a queue's length."""

import pytest

DEAD = "amqp-0-9-1:dead-letter/"
LIMIT = "amqp-0-9-1:length-limit/"


def lettered(wire, key=None, **arguments):
    """Declare a queue that dead-letters through an exchange of its own into a grave; return both names."""
    exchange = wire.exchange("fanout")
    grave = wire.queue(exchange=exchange)
    arguments["x-dead-letter-exchange"] = exchange
    if key is not None:
        arguments["x-dead-letter-routing-key"] = key
    return wire.queue(arguments=arguments), grave


def bury(wire, queue, refuse="basic.reject"):
    """Take a message off the queue and refuse it for good."""
    message = wire.get(queue, no_ack=False)
    wire.send(refuse, delivery_tag=message.delivery_tag, requeue=False)
    wire.fence()


def letters(wire, grave, number):
    """Return so many messages from the grave by a consumer, because dead-lettering has no reply to wait for."""
    wire.open_channel(7)
    wire.consume(grave, channel=7, no_ack=True)
    got = wire.must_take(number, channel=7)
    wire.close_channel(7)
    return got


@pytest.mark.needs("dead_letter")
@pytest.mark.normative(f"{DEAD}01")
@pytest.mark.parametrize("refuse", ["basic.reject", "basic.nack"])
def test_refused_message_is_dead_lettered_with_its_reason(wire, refuse):
    queue, grave = lettered(wire)
    body = wire.publish("", queue)
    bury(wire, queue, refuse)
    (letter,) = letters(wire, grave, 1)
    death = letter.headers["x-death"][0]
    assert (letter.body, death["reason"], death["queue"], death["count"]) == (body, "rejected", queue, 1)


@pytest.mark.needs("dead_letter", "message_ttl_message")
@pytest.mark.normative(f"{DEAD}02")
def test_expired_message_is_dead_lettered_without_its_expiration(wire):
    queue, grave = lettered(wire)
    body = wire.publish("", queue, expiration="1", priority=3)
    (letter,) = letters(wire, grave, 1)
    kept = {name: value for name, value in letter.properties.items() if name != "headers"}
    assert (letter.body, letter.headers["x-death"][0]["reason"], kept) == (body, "expired", {"priority": 3})


@pytest.mark.needs("dead_letter", "length_limit")
@pytest.mark.normative(f"{DEAD}03")
def test_overflowed_message_is_dead_lettered_with_its_reason(wire):
    queue, grave = lettered(wire, **{"x-max-length": 1})
    first, second = wire.publish("", queue), wire.publish("", queue)
    (letter,) = letters(wire, grave, 1)
    assert (letter.body, letter.headers["x-death"][0]["reason"]) == (first, "maxlen")
    assert wire.drain(queue, exchange=wire.exchange("fanout"))[:1] in ([second], [])


@pytest.mark.needs("dead_letter")
@pytest.mark.normative(f"{DEAD}04")
@pytest.mark.parametrize("key", [None, "new.key"])
def test_dead_letter_key_replaces_the_original_one(wire, key):
    queue, grave = lettered(wire, key)
    wire.publish("", queue)
    bury(wire, queue)
    (letter,) = letters(wire, grave, 1)
    assert letter.routing_key == (key or queue)


@pytest.mark.needs("dead_letter")
@pytest.mark.normative(f"{DEAD}05")
def test_deaths_are_counted_by_queue_and_reason_newest_first(wire):
    """The message dies in one queue, then in another, twice each."""
    second = wire.things.queue(remove=False)
    first = wire.queue(arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second})
    back = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": first}
    wire.queue(name=second, exclusive=True, arguments=back)
    wire.publish("", first)
    for queue in (first, second, first, second):
        wire.consume(queue, consumer_tag="undertaker")
        (message,) = wire.must_take(1)
        wire.send("basic.reject", delivery_tag=message.delivery_tag, requeue=False)
        wire.call("basic.cancel", consumer_tag="undertaker")
    (letter,) = letters(wire, first, 1)
    deaths = [(death["queue"], death["reason"], death["count"]) for death in letter.headers["x-death"]]
    assert deaths == [(second, "rejected", 2), (first, "rejected", 2)]


@pytest.mark.needs("dead_letter")
@pytest.mark.normative(f"{DEAD}06")
def test_first_death_is_noted_once_and_never_changed(wire):
    second, grave = lettered(wire)
    first = wire.queue(arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second})
    wire.publish("", first)
    bury(wire, first)
    wire.consume(second, consumer_tag="undertaker")
    (message,) = wire.must_take(1)
    wire.send("basic.reject", delivery_tag=message.delivery_tag, requeue=False)
    (letter,) = letters(wire, grave, 1)
    noted = {name: letter.headers.get(f"x-first-death-{name}") for name in ("queue", "reason", "exchange")}
    assert noted == {"queue": first, "reason": "rejected", "exchange": ""}


@pytest.mark.needs("dead_letter", "message_ttl_queue")
@pytest.mark.normative(f"{DEAD}07")
def test_cycle_without_rejection_drops_the_message(wire):
    """Expired in the first queue, expired in the second, which would send it back to the first."""
    first, second = wire.things.queue(remove=False), wire.things.queue(remove=False)
    for name, other in ((first, second), (second, first)):
        letter = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other}
        wire.queue(name=name, exclusive=True, arguments={"x-message-ttl": 1} | letter)
    wire.publish("", first)
    wire.must_settle(lambda: wire.ready(first) + wire.ready(second) == 0, "both queues empty")


@pytest.mark.needs("dead_letter")
@pytest.mark.normative(f"{DEAD}08")
def test_missing_dead_letter_exchange_drops_the_message_silently(wire):
    queue = wire.queue(arguments={"x-dead-letter-exchange": wire.things.absent()})
    wire.publish("", queue)
    message = wire.get(queue, no_ack=False)
    wire.send("basic.reject", delivery_tag=message.delivery_tag, requeue=False)
    wire.must_accept()
    assert wire.drain(queue) == []


@pytest.mark.needs("dead_letter")
@pytest.mark.normative(f"{DEAD}09")
def test_dead_letter_key_without_an_exchange_is_refused_with_406(wire):
    name = wire.things.queue(remove=False)
    wire.send("queue.declare", queue=name, exclusive=True, arguments={"x-dead-letter-routing-key": "k"})
    wire.must_refuse(406, fenced=False)


@pytest.mark.needs("length_limit")
@pytest.mark.normative(f"{LIMIT}01")
def test_full_queue_keeps_the_newest_messages(wire):
    queue = wire.queue(arguments={"x-max-length": 3})
    bodies = [wire.publish("", queue) for _ in range(7)]
    kept = [message.body for message in (wire.get(queue) for _ in range(4)) if message]
    assert kept == bodies[-3:]


@pytest.mark.needs("length_limit")
@pytest.mark.normative(f"{LIMIT}02")
def test_octets_of_bodies_are_counted(wire):
    queue = wire.queue(arguments={"x-max-length-bytes": 100})
    bodies = [wire.publish("", queue, b"%02d" % number + b"x" * 38) for number in range(5)]
    kept = [message.body for message in (wire.get(queue) for _ in range(4)) if message]
    assert kept == bodies[-2:]


@pytest.mark.needs("length_limit", "publisher_confirms")
@pytest.mark.normative(f"{LIMIT}03")
def test_publish_to_a_full_queue_is_nacked_where_overflow_rejects(wire):
    queue = wire.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    wire.call("confirm.select")
    body = wire.send_content("", queue)
    wire.must_receive("basic.ack", channel=1, delivery_tag=1)
    wire.send_content("", queue)
    wire.must_receive("basic.nack", channel=1, delivery_tag=2)
    wire.open_channel(2)
    wire.send_content("", queue, channel=2)
    wire.must_accept(channel=2)
    assert [message.body for message in (wire.get(queue) for _ in range(3)) if message] == [body]


@pytest.mark.needs("length_limit", "dead_letter", "publisher_confirms")
@pytest.mark.normative(f"{LIMIT}04")
def test_publish_that_is_rejected_is_dead_lettered_where_overflow_says_so(wire):
    queue, grave = lettered(wire, **{"x-max-length": 1, "x-overflow": "reject-publish-dlx"})
    wire.call("confirm.select")
    wire.send_content("", queue)
    body = wire.send_content("", queue)
    wire.must_receive("basic.nack", channel=1, delivery_tag=2)
    assert [letter.body for letter in letters(wire, grave, 1)] == [body]


@pytest.mark.needs("length_limit")
@pytest.mark.normative(f"{LIMIT}05")
def test_unacknowledged_messages_do_not_count(wire):
    queue = wire.queue(arguments={"x-max-length": 2})
    for _ in range(2):
        wire.publish("", queue)
        wire.get(queue, no_ack=False)
    bodies = [wire.publish("", queue) for _ in range(2)]
    assert [message.body for message in (wire.get(queue) for _ in range(3)) if message] == bodies


@pytest.mark.needs("dlx_at_least_once", "quorum_queues")
@pytest.mark.normative("amqp-0-9-1:dlx-at-least-once/01")
def test_at_least_once_dead_lettering_needs_overflow_that_rejects(wire):
    """With reject-publish the refused message is dead-lettered; without it the strategy is not honoured."""
    exchange = wire.exchange("fanout")
    grave = wire.queue(exchange=exchange)
    arguments = {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    queue = wire.queue(shared=True, arguments=arguments)
    body = wire.publish("", queue)
    bury(wire, queue)
    assert [letter.body for letter in letters(wire, grave, 1)] == [body]
