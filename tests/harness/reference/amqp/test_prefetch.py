"""Prefetch windows of the reference broker (section 3.1.7, rules of basic.qos)."""

import pytest

THREE = (b"1", b"2", b"3")


@pytest.fixture
def full(peer):
    """A peer with queue q that holds 1, 2 and 3."""
    peer.queue("q")
    for body in THREE:
        peer.publish(body)
    return peer


def test_prefetch_count_is_each_later_consumers_own(full):
    full.consume(tag="free")
    assert len(full.deliveries()) == 3
    full.send("basic.ack", delivery_tag=3, multiple=True)
    full.call("basic.cancel", consumer_tag="free")
    full.call("basic.qos", prefetch_count=2)
    full.consume(tag="a")
    full.consume(tag="b")
    for _ in range(6):
        full.publish(b"m")
    assert len(full.deliveries()) == 4
    full.send("basic.ack", delivery_tag=4)
    assert len(full.deliveries()) == 1


def test_shared_prefetch_holds_for_all_consumers_at_once(full):
    full.consume(tag="a")
    assert len(full.deliveries()) == 3
    full.call("basic.qos", prefetch_count=2, global_=True)
    full.consume(tag="b")
    full.publish(b"4")
    full.expect_nothing()
    full.send("basic.ack", delivery_tag=1)
    full.expect_nothing()
    full.send("basic.ack", delivery_tag=2)
    assert full.bodies() == [b"4"]
    full.publish(b"5")
    full.expect_nothing()
    full.call("basic.qos", prefetch_count=0, global_=True)
    assert full.bodies() == [b"5"]


def test_both_windows_combine(peer):
    peer.queue("q")
    peer.queue("p")
    peer.call("basic.qos", prefetch_count=2)
    peer.call("basic.qos", prefetch_count=3, global_=True)
    peer.consume(tag="a")
    peer.consume("p", tag="b")
    for _ in range(4):
        peer.publish(b"q")
    assert peer.bodies() == [b"q"] * 2
    for _ in range(4):
        peer.publish(b"p", "p")
    assert peer.bodies() == [b"p"]


def test_prefetch_does_not_limit_no_ack_nor_get(full):
    full.call("basic.qos", prefetch_count=1)
    full.call("basic.qos", prefetch_count=1, global_=True)
    full.get(no_ack=False)
    full.get(no_ack=False)
    full.publish(b"4")
    full.consume(no_ack=True)
    assert full.bodies() == [b"3", b"4"]


@pytest.mark.parametrize("shared", [True, False])
def test_prefetch_size_never_blocks_a_single_message(peer, shared):
    peer.queue("q")
    peer.call("basic.qos", prefetch_size=10, global_=shared)
    peer.consume()
    peer.publish(bytes(11))
    assert peer.bodies() == [bytes(11)]
    peer.publish(b"x")
    peer.expect_nothing()
    peer.send("basic.ack", delivery_tag=1)
    assert peer.bodies() == [b"x"]
    peer.publish(bytes(9))
    assert peer.bodies() == [bytes(9)]
    peer.publish(b"x")
    peer.expect_nothing()
