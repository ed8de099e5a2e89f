"""Channels: numbers, exceptions, flow, close (section 4.3, class channel)."""

import pytest


def test_channel_exception_closes_one_channel_only(peer):
    peer.call("channel.open", 2)
    peer.send("queue.declare", 2, queue="none", passive=True)
    closed = peer.expect("channel.close", reply_code=404)
    assert (closed["class_id"], closed["method_id"]) == (50, 10)
    assert closed["reply_text"].startswith("NOT_FOUND")
    peer.send("channel.close-ok", 2)
    peer.queue("q")
    peer.call("channel.open", 2)
    peer.call("queue.declare", 2, queue="other")


def test_closed_channel_discards_until_close_ok(peer):
    peer.send("queue.declare", queue="none", passive=True)
    peer.send("queue.declare", queue="late")
    peer.publish(b"late")
    peer.send("channel.open")
    peer.expect("channel.close", reply_code=404)
    peer.expect_nothing()
    peer.send("channel.close")
    peer.expect("channel.close-ok")  # crossing closes are both answered
    peer.send("channel.close-ok")
    peer.call("channel.open")
    peer.send("queue.declare", queue="late", passive=True)
    peer.expect_closed(404)


def test_channel_can_be_closed_and_opened_again(peer):
    peer.call("channel.close", reply_code=200)
    peer.send("queue.declare", queue="q")
    peer.expect_closed(504, hard=True)


def test_every_channel_number_below_the_limit_works(peer):
    for number in (2, 1000, 2047):
        peer.call("channel.open", number)
    peer.send("channel.open", 2048)
    peer.expect_closed(530, hard=True)


@pytest.mark.parametrize("consumer", [True, False])
def test_flow_stops_deliveries_and_not_get(peer, consumer):
    peer.queue("q")
    if consumer:
        peer.consume(no_ack=True)
    peer.call("channel.flow", active=False)
    peer.publish(b"m")
    peer.expect_nothing()
    if not consumer:
        assert peer.get() == b"m"
        return
    peer.send("channel.flow", active=True)
    peer.expect("channel.flow-ok", active=True)
    assert peer.bodies() == [b"m"]


def test_reply_text_stays_a_short_string(peer):
    name = "x" * 100
    peer.queue(name, arguments={"x-message-ttl": 1})
    peer.send("queue.declare", queue=name, arguments={"x-message-ttl": 1, "long": "é" * 300})
    text = peer.expect("channel.close", reply_code=406)["reply_text"]
    assert len(text.encode()) <= 255
    assert text.endswith("...")


def test_unacknowledged_messages_come_back_when_the_channel_closes(connect):
    peer, other = connect(), connect()
    peer.queue("q")
    for body in (b"1", b"2", b"3"):
        peer.publish(body)
    peer.consume()
    assert peer.deliveries() == [(1, b"1", False), (2, b"2", False), (3, b"3", False)]
    peer.send("basic.ack", delivery_tag=2)
    peer.call("channel.close")
    other.publish(b"4")
    other.consume()
    assert other.deliveries() == [(1, b"1", True), (2, b"3", True), (3, b"4", False)]


def test_sibling_channels_of_a_lost_connection_get_nothing_back(connect):
    peer, other = connect(), connect()
    peer.call("channel.open", 2)
    other.queue("q")
    peer.consume(tag="a")
    peer.consume(channel=2, tag="b")
    other.publish(b"1")
    assert peer.bodies() == [b"1"]
    peer.send("connection.close", 0)
    peer.expect("connection.close-ok")
    peer.expect_nothing()
    other.send("basic.get", queue="q")
    other.expect_content("basic.get-ok", redelivered=True)


def test_effects_follow_their_replies(peer):
    """Section 4.6: deliveries come after consume-ok and recover-ok, and none comes after cancel-ok."""
    peer.queue("q")
    peer.publish(b"m")
    peer.send("basic.consume", queue="q", consumer_tag="c")
    peer.expect("basic.consume-ok", consumer_tag="c")
    peer.expect_content("basic.deliver", delivery_tag=1, redelivered=False)
    peer.send("basic.recover", requeue=True)
    peer.expect("basic.recover-ok")
    peer.expect_content("basic.deliver", delivery_tag=2, redelivered=True)
    peer.call("basic.cancel", consumer_tag="c")
    peer.publish(b"late")
    peer.expect_nothing()
