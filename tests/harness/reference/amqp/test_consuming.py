"""Consumers, acknowledgement and prefetch (sections 3.1.6 to 3.1.8, class basic)."""

import pytest
from mqproof.harness.reference.amqp.queue import HOLD

THREE = (b"1", b"2", b"3")


@pytest.fixture
def full(peer):
    """A peer with queue q that holds 1, 2 and 3."""
    peer.queue("q")
    for body in THREE:
        peer.publish(body)
    return peer


def test_tags_count_from_one_on_each_channel(full):
    full.call("basic.qos", prefetch_count=1)
    full.call("channel.open", 2)
    full.consume()
    assert full.deliveries() == [(1, b"1", False)]
    full.consume(channel=2, tag="d")
    assert full.deliveries() == [(1, b"2", False), (2, b"3", False)]


def test_consumers_take_turns(peer):
    peer.queue("q")
    for tag in "abc":
        peer.consume(tag=tag)
    for _ in range(6):
        peer.publish(b"m")
    tags = [peer.expect_content("basic.deliver")[0]["consumer_tag"] for _ in range(6)]
    assert tags == ["a", "b", "c"] * 2


@pytest.mark.parametrize(
    ("first", "second", "code", "hard"),
    [
        ({"consumer_tag": "t"}, {"consumer_tag": "t"}, 530, True),
        ({}, {"exclusive": True}, 403, False),
        ({"exclusive": True}, {}, 403, False),
        ({"exclusive": True}, {"exclusive": True}, 403, False),
    ],
)
def test_consume_refuses(peer, first, second, code, hard):
    peer.queue("q")
    peer.call("basic.consume", queue="q", **first)
    peer.send("basic.consume", queue="q", **second)
    peer.expect_closed(code, hard=hard)


def test_generated_consumer_tags_differ(peer):
    peer.queue("q")
    tags = {peer.call("basic.consume", queue="q")["consumer_tag"] for _ in range(3)}
    assert len(tags) == 3
    assert "" not in tags


def test_same_tag_on_two_channels_is_two_consumers(peer):
    peer.queue("q")
    peer.call("channel.open", 2)
    peer.consume(tag="t")
    peer.consume(tag="t", channel=2)
    peer.call("basic.cancel", consumer_tag="t")
    peer.publish(b"m")
    frame = peer.next()
    assert frame.channel == 2
    peer.frames()
    peer.call("basic.cancel", consumer_tag="t")  # used here before: its own, and gone


def test_cancel_with_another_channels_tag_is_530(peer):
    peer.queue("q")
    peer.call("channel.open", 2)
    peer.consume(tag="t")
    peer.send("basic.cancel", 2, consumer_tag="t")
    peer.expect_closed(530, hard=True)


def test_cancel_of_a_tag_nobody_has_is_answered(peer):
    peer.call("basic.cancel", consumer_tag="nobody")


def test_cancel_keeps_deliveries_outstanding(full):
    full.consume()
    assert len(full.deliveries()) == 3
    full.call("basic.cancel", consumer_tag="c")
    full.send("basic.ack", delivery_tag=3, multiple=True)
    full.call("channel.close")
    full.call("channel.open")
    assert full.drain() == []


def test_no_ack_settles_by_sending(full):
    full.consume(no_ack=True)
    assert full.bodies() == list(THREE)
    full.call("channel.close")
    full.call("channel.open")
    assert full.drain() == []


@pytest.mark.parametrize(
    ("ack", "left"),
    [
        ({"delivery_tag": 2}, [b"1", b"3"]),
        ({"delivery_tag": 2, "multiple": True}, [b"3"]),
        ({"delivery_tag": 0, "multiple": True}, []),
    ],
)
@pytest.mark.parametrize("method", ["basic.ack", "basic.nack"])
def test_settling(full, method, ack, left):
    full.consume()
    full.frames()
    full.send(method, **ack)
    full.call("channel.close")
    full.call("channel.open")
    assert full.drain() == left


@pytest.mark.parametrize("method", ["basic.ack", "basic.nack", "basic.reject"])
@pytest.mark.parametrize("multiple", [True, False])
@pytest.mark.parametrize("tag", [1, 4, 2**63])
@pytest.mark.parametrize("transacted", [True, False])
def test_unknown_and_settled_tags_are_406(full, method, multiple, tag, transacted):
    if transacted:
        full.call("tx.select")
    full.consume()
    full.frames()
    full.send("basic.ack", delivery_tag=1)
    full.expect_nothing()
    full.send(method, delivery_tag=tag, **({"multiple": multiple} if method != "basic.reject" else {}))
    full.expect_closed(406)


def test_tag_zero_alone_is_unknown(full):
    full.consume()
    full.frames()
    full.send("basic.ack", delivery_tag=0)
    full.expect_closed(406)


def test_zero_with_multiple_is_fine_with_nothing_outstanding(full):
    full.send("basic.ack", delivery_tag=0, multiple=True)
    full.call("channel.close")


def test_cumulative_ack_steps_over_a_settled_tag(full):
    full.consume()
    full.frames()
    full.send("basic.ack", delivery_tag=2)
    full.send("basic.ack", delivery_tag=3, multiple=True)
    full.call("channel.close")
    full.call("channel.open")
    assert full.drain() == []


def test_tags_belong_to_their_channel(full):
    full.call("channel.open", 2)
    full.consume()
    full.frames()
    full.send("basic.ack", 2, delivery_tag=1)
    full.expect_closed(406, channel=2)


def test_requeued_messages_keep_their_places(full):
    full.call("channel.open", 2)
    for _ in range(2):
        full.get(no_ack=False)
    full.publish(b"4")
    full.send("basic.nack", delivery_tag=2, requeue=True)
    full.send("basic.reject", delivery_tag=1, requeue=True)
    full.consume(channel=2)
    assert full.deliveries() == [(1, b"1", True), (2, b"2", True), (3, b"3", False), (4, b"4", False)]


def test_one_requeue_puts_many_messages_into_their_places(peer):
    peer.queue("q")
    for number in range(10):
        peer.publish(b"%d" % number)
    for _ in range(7):
        peer.get(no_ack=False)
    for tag in (6, 2):
        peer.send("basic.reject", delivery_tag=tag, requeue=True)
    peer.send("basic.nack", delivery_tag=0, multiple=True, requeue=True)
    assert peer.drain() == [b"%d" % number for number in range(10)]


@pytest.mark.parametrize("method", ["basic.nack", "basic.reject"])
def test_rejected_message_stays_away_from_its_channel_for_a_while(full, clock, method):
    full.consume()
    full.frames()
    full.send(method, delivery_tag=1, requeue=True)
    full.publish(b"4")
    assert full.deliveries() == [(4, b"4", False)]
    clock.advance(HOLD - 0.01)
    full.expect_nothing()
    clock.advance(0.01)
    assert full.deliveries() == [(5, b"1", True)]


def test_rejected_message_goes_to_another_consumer_at_once(full):
    full.call("channel.open", 2)
    full.consume()
    full.frames()
    full.send("basic.reject", delivery_tag=1, requeue=True)
    full.consume(channel=2, tag="d")
    full.expect_content("basic.deliver", consumer_tag="d", redelivered=True)


def test_rejected_message_can_be_fetched_on_its_channel(full):
    assert full.get(no_ack=False) == b"1"
    full.send("basic.reject", delivery_tag=1, requeue=True)
    assert full.drain() == list(THREE)


def test_thousands_of_rejections_hold_up_others_for_a_moment_only(connect, clock):
    peer, other = connect(), connect()
    peer.queue("q")
    for number in range(3000):
        peer.publish(b"%d" % number)
    peer.consume()
    peer.frames()
    for tag in range(1, 3001):
        peer.send("basic.reject", delivery_tag=tag, requeue=True)
    peer.publish(b"fresh")
    clock.advance(HOLD)
    assert len(peer.deliveries()) == 3001
    peer.call("channel.close")
    assert len(other.drain()) == 3001


def test_hold_ends_harmlessly_when_all_is_gone(full, clock):
    full.consume()
    full.frames()
    full.send("basic.nack", delivery_tag=3, multiple=True, requeue=True)
    full.call("queue.delete", queue="q")
    clock.advance(HOLD)
    full.expect_nothing()


@pytest.mark.parametrize("method", ["basic.recover", "basic.recover-async"])
@pytest.mark.parametrize("requeue", [True, False])
def test_recover_sends_again_under_new_tags(full, method, requeue):
    full.consume()
    full.frames()
    full.send("basic.ack", delivery_tag=2)
    full.send(method, requeue=requeue)
    if method == "basic.recover":
        full.expect("basic.recover-ok")
    assert full.deliveries() == [(4, b"1", True), (5, b"3", True)]
    full.send("basic.ack", delivery_tag=1)
    full.expect_closed(406)


@pytest.mark.parametrize("requeue", [True, False])
def test_recover_goes_back_to_the_same_or_to_any_consumer(full, requeue):
    full.call("basic.qos", prefetch_count=3)
    full.consume(tag="first")
    full.frames()
    full.call("channel.open", 2)
    full.consume(tag="second", channel=2)
    full.call("basic.recover", requeue=requeue)
    tags = [full.expect_content("basic.deliver")[0]["consumer_tag"] for _ in range(3)]
    assert set(tags) == ({"first", "second"} if requeue else {"first"})


def test_recover_respects_a_stopped_flow(full):
    full.consume()
    full.frames()
    full.call("channel.flow", active=False)
    full.call("basic.recover", requeue=False)
    full.expect_nothing()
    full.call("channel.flow", active=True)
    assert [(body, again) for _, body, again in full.deliveries()] == [(body, True) for body in THREE]


def test_recover_queues_again_what_was_fetched(full):
    full.get(no_ack=False)
    full.call("basic.recover", requeue=False)
    assert full.drain() == list(THREE)


def test_no_local_leaves_own_messages_to_others(connect):
    peer, other = connect(), connect()
    peer.queue("q")
    peer.consume(no_local=True)
    peer.publish(b"mine")
    other.publish(b"other's")
    assert peer.bodies() == [b"other's"]
    other.consume()
    assert other.bodies() == [b"mine"]


def test_slow_reader_holds_up_nobody_else(connect):
    """What one client does not read stays on the queue, once a mebibyte waits for its socket."""
    slow, quick = connect(), connect()
    quick.queue("q")
    slow.consume(no_ack=True)
    slow.connection.socket_full = True
    for _ in range(3):
        quick.publish(b"m")
    quick.consume()
    assert quick.bodies() == [b"m"] * 3
    quick.call("basic.cancel", consumer_tag="c")
    quick.publish(b"late")
    slow.expect_nothing()
    slow.connection.socket_full = False
    slow.connection.resume()
    assert slow.bodies() == [b"late"]


def test_output_for_one_client_is_bounded(peer):
    peer.queue("q")
    for _ in range(40):
        peer.publish(bytes(100_000))
    peer.send("basic.consume", queue="q", no_ack=True)
    pieces = []
    while piece := peer.connection.output():
        pieces.append(len(piece))
        peer.connection.resume()
    assert max(pieces) < 1_200_000
    assert sum(pieces) > 3_900_000


@pytest.mark.parametrize("scope", ["queue", "broker"])
def test_unsettled_delivery_closes_its_channel_in_time(connect, clock, scope):
    peer, other = connect(), connect()
    arguments = {"x-consumer-timeout": 5000} if scope == "queue" else {}
    seconds = 5 if scope == "queue" else 1800
    peer.queue("q", arguments=arguments)
    peer.publish(b"1")
    peer.publish(b"2")
    peer.consume()
    clock.advance(seconds - 1)
    peer.send("basic.ack", delivery_tag=1)
    assert len(peer.deliveries()) == 2
    clock.advance(1)
    peer.expect_closed(406)
    assert other.drain() == [b"2"]


def test_settled_deliveries_do_not_time_out(peer, clock):
    peer.queue("q")
    peer.consume()
    for tag in range(1, 4):
        peer.publish(b"m")
        clock.advance(1500)
        peer.send("basic.ack", delivery_tag=tag)
    clock.advance(100000)
    assert len(peer.deliveries()) == 3
    peer.expect_nothing()
