"""Time to live, dead letters, limits, priorities, single active consumers."""

import pytest
from mqproof.dissectors.amqp.codec import plain
from mqproof.harness.reference.amqp.deadletter import ROWS_MAX


def dead_letters(peer, **arguments):
    """Make queue q, whose dead messages go to queue dead."""
    peer.queue("dead")
    peer.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", **arguments})


def fetch(peer, queue="q"):
    peer.send("basic.get", queue=queue, no_ack=True)
    return peer.expect_content("basic.get-ok")


@pytest.mark.parametrize(
    ("queue", "message", "seconds"), [(1000, None, 1), (None, "1000", 1), (2000, "1000", 1), (1000, "2000", 1)]
)
def test_messages_expire_by_the_lower_limit(peer, clock, queue, message, seconds):
    peer.queue("q", arguments={} if queue is None else {"x-message-ttl": queue})
    peer.publish(b"m", properties={} if message is None else {"expiration": message})
    clock.advance(seconds - 0.001)
    assert peer.count() == 1
    clock.advance(0.001)
    assert peer.count() == 0
    assert peer.get() is None


def test_far_expiration_is_no_expiration(peer, clock):
    peer.queue("q")
    peer.publish(b"m", properties={"expiration": "9" * 200})
    clock.advance(10**9)
    assert peer.drain() == [b"m"]


def test_expired_message_goes_when_it_is_at_the_head(peer, clock):
    dead_letters(peer)
    peer.publish(b"stays")
    peer.publish(b"expires", properties={"expiration": "10"})
    clock.advance(1)
    assert peer.drain("dead") == []
    assert peer.get() == b"stays"
    clock.advance(0)
    assert peer.drain("dead") == [b"expires"]


def test_time_to_live_of_zero_needs_a_ready_consumer(peer):
    peer.queue("q", arguments={"x-message-ttl": 0})
    peer.publish(b"1")
    assert peer.get() is None
    peer.call("basic.qos", prefetch_count=1)
    peer.consume()
    peer.publish(b"2")
    peer.publish(b"3", properties={"expiration": "0"})
    assert peer.bodies() == [b"2"]
    peer.send("basic.ack", delivery_tag=1)
    peer.expect_nothing()


def test_requeue_keeps_the_time_of_expiry(connect, clock):
    peer, other = connect(), connect()
    peer.queue("q", arguments={"x-message-ttl": 1000})
    peer.publish(b"m")
    peer.get(no_ack=False)
    clock.advance(0.9)
    peer.call("basic.recover", requeue=True)
    assert other.count() == 1
    clock.advance(0.1)
    assert other.count() == 0


def test_delivered_message_does_not_expire_until_it_comes_back(connect, clock):
    peer, other = connect(), connect()
    dead_letters(peer, **{"x-message-ttl": 1000})
    peer.publish(b"m")
    peer.get(no_ack=False)
    clock.advance(2)
    assert other.drain("dead") == []
    peer.call("channel.close")
    assert other.drain("dead") == [b"m"]


@pytest.mark.parametrize("use", ["nothing", "get", "declare", "passive", "consumer"])
def test_unused_queue_expires(peer, clock, use):
    peer.queue("q", arguments={"x-expires": 1000})
    clock.advance(0.9)
    if use == "get":
        peer.get()
    elif use == "declare":
        peer.queue("q", arguments={"x-expires": 1000})
    elif use == "passive":
        peer.count()
    elif use == "consumer":
        peer.consume()
    clock.advance(0.9)
    if use == "consumer":
        clock.advance(10)
        peer.call("basic.cancel", consumer_tag="c")
        clock.advance(0.9)
    if use == "nothing":
        peer.send("queue.declare", queue="q", passive=True)
        peer.expect_closed(404)
        return
    peer.publish(b"m", mandatory=True)
    peer.expect_nothing()
    clock.advance(0.1)
    peer.send("queue.declare", queue="q", passive=True)
    peer.expect_closed(404)


@pytest.mark.parametrize("reason", ["rejected", "expired", "maxlen", "delivery_limit", "deleted"])
def test_dead_messages_say_why(peer, clock, reason):
    dead_letters(peer, **{"x-max-length": 1, "x-delivery-limit": 1})
    peer.publish(b"m", properties={"headers": {"mine": 1}, "expiration": "5000", "type": "t"})
    if reason == "rejected":
        peer.get(no_ack=False)
        peer.send("basic.reject", delivery_tag=1, requeue=False)
    elif reason == "expired":
        clock.advance(5)
    elif reason == "maxlen":
        peer.publish(b"n")
    elif reason == "delivery_limit":
        for tag in (1, 2):
            peer.get(no_ack=False)
            peer.send("basic.reject", delivery_tag=tag, requeue=True)
    else:
        peer.call("queue.delete", queue="q")
    arguments, properties, body = fetch(peer, "dead")
    assert (arguments["exchange"], arguments["routing_key"], body) == ("", "dead", b"m")
    assert properties["type"] == "t"
    assert "expiration" not in properties
    headers = plain(properties["headers"])
    [death] = headers["x-death"]
    assert death.pop("time").year >= 2026
    assert death == {
        "count": 1, "reason": reason, "queue": "q", "exchange": "", "routing-keys": ["q"], "original-expiration": "5000"
    }  # fmt: skip
    assert headers["x-first-death-reason"] == reason
    assert (headers["x-first-death-queue"], headers["x-first-death-exchange"], headers["mine"]) == ("q", "", 1)


def test_original_keys_are_kept_without_a_dead_letter_key(peer):
    peer.call("exchange.declare", exchange="dlx", type="direct")
    peer.queue("q", arguments={"x-dead-letter-exchange": "dlx"})
    for name in ("one", "two"):
        peer.queue(name)
        peer.call("queue.bind", queue=name, exchange="dlx", routing_key={"one": "q", "two": "carbon"}[name])
    peer.publish(b"m", "q", properties={"headers": {"CC": ["carbon"]}})
    peer.get(no_ack=False)
    peer.send("basic.nack", delivery_tag=1)
    for name in ("one", "two"):
        arguments, properties, _ = fetch(peer, name)
        assert arguments["routing_key"] == "q"
        assert plain(properties["headers"]["x-death"])[0]["routing-keys"] == ["q", "carbon"]


def test_deaths_are_counted_by_queue_and_reason_newest_first(peer):
    peer.queue("a", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "b"})
    peer.queue("b", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "a"})
    peer.publish(b"m", "a")
    for tag, queue in enumerate("abab", 1):
        peer.get(queue, no_ack=False)
        peer.send("basic.reject", delivery_tag=tag)
    _, properties, _ = fetch(peer, "a")
    headers = plain(properties["headers"])
    assert [(row["queue"], row["reason"], row["count"]) for row in headers["x-death"]] == [
        ("b", "rejected", 2),
        ("a", "rejected", 2),
    ]
    assert headers["x-first-death-queue"] == "a"


def test_cycle_without_rejection_drops(peer, clock):
    peer.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q", "x-message-ttl": 10})
    peer.publish(b"m")
    clock.advance(0.01)
    assert peer.count() == 0


def test_cycle_with_a_rejection_goes_on(peer, clock):
    peer.queue("a", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "b", "x-message-ttl": 10})
    peer.queue("b", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "a"})
    peer.publish(b"m", "a")
    clock.advance(0.01)
    peer.get("b", no_ack=False)
    peer.send("basic.reject", delivery_tag=1)
    assert peer.count("a") == 1


@pytest.mark.parametrize("last", [128, 129])
def test_long_chain_of_deaths_ends(peer, last):
    for number in range(last):
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"q{number + 1}", "x-max-length": 0}
        peer.send("queue.declare", queue=f"q{number}", no_wait=True, arguments=arguments)
    peer.queue(f"q{last}")
    peer.publish(b"m", "q0")
    if last <= ROWS_MAX:
        _, properties, _ = fetch(peer, f"q{last}")
        assert len(properties["headers"]["x-death"]) == last
    else:
        assert peer.get(f"q{last}") is None


def test_missing_dead_letter_exchange_drops(peer):
    peer.queue("q", arguments={"x-dead-letter-exchange": "none", "x-max-length": 0})
    peer.publish(b"m", mandatory=True)
    peer.expect_nothing()
    assert peer.count() == 0


@pytest.mark.parametrize("rows", ["text", [5], [{"queue": 1}], [{"queue": "q", "reason": "rejected", "count": "many"}]])
def test_made_up_x_death_harms_nothing(peer, rows):
    dead_letters(peer)
    peer.publish(b"m", properties={"headers": {"x-death": rows}})
    peer.get(no_ack=False)
    peer.send("basic.reject", delivery_tag=1)
    assert plain(fetch(peer, "dead")[1]["headers"]["x-death"])[0]["count"] == 1


def test_message_comes_back_only_so_often_when_there_is_a_place_for_it(peer):
    dead_letters(peer)
    peer.publish(b"m")
    for tag in range(1, 22):
        assert peer.get(no_ack=False) == b"m"
        peer.send("basic.reject", delivery_tag=tag, requeue=True)
    assert peer.drain("dead") == [b"m"]


def test_message_comes_back_for_ever_when_there_is_none(peer):
    peer.queue("q")
    peer.publish(b"m")
    for tag in range(1, 100):
        assert peer.get(no_ack=False) == b"m"
        peer.send("basic.reject", delivery_tag=tag, requeue=True)


def test_length_limit_keeps_the_newest(peer):
    dead_letters(peer, **{"x-max-length": 2})
    for body in (b"1", b"2", b"3"):
        peer.publish(body, properties={"delivery_mode": 2})
    assert (peer.drain(), peer.drain("dead")) == ([b"2", b"3"], [b"1"])


def test_byte_limit_counts_bodies(peer):
    peer.queue("q", arguments={"x-max-length-bytes": 10})
    for body in (b"12345", b"67890", b"x"):
        peer.publish(body, properties={"headers": {"a": "much more than ten"}})
    assert peer.drain() == [b"67890", b"x"]
    peer.publish(bytes(11))
    assert peer.drain() == []


def test_unacknowledged_messages_do_not_count(peer):
    peer.queue("q", arguments={"x-max-length": 1})
    peer.publish(b"1")
    peer.get(no_ack=False)
    peer.publish(b"2")
    assert peer.count() == 1


@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_full_queue_refuses(peer, overflow):
    dead_letters(peer, **{"x-max-length": 1, "x-overflow": overflow})
    peer.publish(b"1")
    peer.publish(b"dropped")
    peer.expect_nothing()
    peer.call("confirm.select")
    peer.publish(b"2")
    peer.expect("basic.nack", delivery_tag=1)
    assert peer.drain() == [b"1"]
    assert peer.drain("dead") == ([b"dropped", b"2"] if overflow == "reject-publish-dlx" else [])
    peer.publish(b"3")
    peer.expect("basic.ack", delivery_tag=2)


@pytest.mark.parametrize(
    ("maximum", "expected"), [(None, [9, 9, 5, 4, 0, 0]), (10, [11, 9, 5, 4, 0, 0]), (4, [9, 5, 4, 11, 0, 0])]
)
def test_higher_priorities_go_first(peer, maximum, expected):
    """With 4 as the maximum, all above are 4 and keep their order."""
    peer.queue("q", arguments={} if maximum is None else {"x-max-priority": maximum})
    for number, priority in enumerate([0, 9, 5, 4, 11, None]):
        properties = {} if priority is None else {"priority": priority}
        peer.publish(b"%d %d" % (priority or 0, number), properties=properties)
    got = [int(body.split()[0]) for body in peer.drain()]
    assert got == ([9, 11, 5, 4, 0, 0] if maximum is None else expected)


def test_requeued_messages_keep_their_priority_and_place(connect):
    peer, other = connect(), connect()
    peer.queue("q")
    for priority, body in [(5, b"a"), (1, b"b"), (5, b"c"), (1, b"d")]:
        peer.publish(body, properties={"priority": priority})
    for _ in range(3):
        peer.get(no_ack=False)
    peer.call("channel.close")
    assert other.drain() == [b"a", b"c", b"b", b"d"]


def test_consumer_priority(peer):
    peer.queue("q")
    peer.call("basic.qos", prefetch_count=2)
    peer.consume(tag="low")
    peer.consume(tag="high", arguments={"x-priority": 10})
    peer.consume(tag="lowest", arguments={"x-priority": -5})
    for _ in range(5):
        peer.publish(b"m")
    tags = [peer.expect_content("basic.deliver")[0]["consumer_tag"] for _ in range(5)]
    assert tags == ["high", "high", "low", "low", "lowest"]
    peer.send("basic.ack", delivery_tag=1)
    peer.publish(b"m")
    peer.expect_content("basic.deliver", consumer_tag="high")


@pytest.mark.parametrize("priority", ["1", 1.5, True, None])
def test_consumer_priority_must_be_an_integer(peer, priority):
    peer.queue("q")
    peer.send("basic.consume", queue="q", arguments={"x-priority": priority})
    peer.expect_closed(406)


def test_single_active_consumer(peer):
    peer.queue("q", arguments={"x-single-active-consumer": True})
    peer.call("channel.open", 2)
    peer.call("basic.qos", prefetch_count=1)
    peer.consume(tag="a")
    peer.consume(tag="b", channel=2)
    peer.consume(tag="c")
    for body in (b"1", b"2", b"3"):
        peer.publish(body)
    peer.expect_content("basic.deliver", consumer_tag="a")
    peer.expect_nothing()
    peer.send("basic.ack", delivery_tag=1)
    peer.expect_content("basic.deliver", consumer_tag="a")
    peer.send("basic.cancel", consumer_tag="a")
    first = peer.frames()
    assert sorted(frame.name for frame in first if hasattr(frame, "name")) == ["basic.cancel-ok", "basic.deliver"]
    peer.send("channel.close", 2)
    peer.expect_content("basic.deliver", consumer_tag="c", redelivered=True)
    peer.expect("channel.close-ok")
    peer.send("basic.consume", queue="q", exclusive=True)
    peer.expect_closed(403)
