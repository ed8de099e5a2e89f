"""Queues: declare, delete, purge, exclusive, auto-delete (section 3.1.4, class queue)."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"queue": "none", "passive": True}, 404),
        ({"queue": "", "passive": True}, 404),
        ({"queue": "amq.new"}, 403),
        ({"queue": "a b"}, 406),
        ({"queue": "a#"}, 406),
        ({"queue": "é"}, 406),
        ({"queue": "x" * 128}, 406),
        ({"queue": b"\xff\xfe"}, 406),
    ],
)
def test_declare_refuses(peer, arguments, code):
    peer.send("queue.declare", **arguments)
    peer.expect_closed(code)


@pytest.mark.parametrize("name", ["x" * 127, "aZ09-_.:", "a"])
def test_declare_takes_these_names(peer, name):
    assert peer.queue(name) == name


def test_server_named_queues_are_unique_and_meant_by_the_empty_name(peer):
    one, two = peer.queue(""), peer.queue("")
    assert one.startswith("amq.gen-")
    assert two.startswith("amq.gen-")
    assert one != two
    assert peer.call("queue.declare", queue="", passive=True)["queue"] == two
    assert peer.queue(one) == one  # an existing queue may be declared under a reserved name
    peer.publish(b"m", one)
    assert peer.get("") == b"m"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"auto_delete": True}, True),
        ({"durable": True}, False),
        ({"exclusive": True}, False),
        ({"arguments": {}}, False),
        ({"arguments": {"x-max-length": 2}}, False),
        ({"arguments": {"x-max-length": 2**40}}, False),
        ({"passive": True, "durable": True, "arguments": {}}, True),
    ],
)
def test_redeclare_compares(peer, change, same):
    first = {"queue": "q", "arguments": {"x-max-length": 1}}
    peer.call("queue.declare", **first)
    peer.send("queue.declare", **{**first, **change})
    if same:
        peer.expect("queue.declare-ok", queue="q")
    else:
        peer.expect_closed(406)


def test_declare_counts_what_waits_and_who_consumes(peer):
    peer.queue("q")
    for body in (b"1", b"2", b"3"):
        peer.publish(body)
    peer.get(no_ack=False)
    peer.call("basic.qos", prefetch_count=1)
    peer.consume()
    peer.deliveries()
    assert peer.queue("q") == "q"
    peer.send("queue.declare", queue="q", passive=True)
    peer.expect("queue.declare-ok", message_count=1, consumer_count=1)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("queue.declare", {}),
        ("queue.declare", {"passive": True}),
        ("queue.declare", {"exclusive": True}),
        ("queue.bind", {"exchange": "amq.direct"}),
        ("queue.unbind", {"exchange": "amq.direct"}),
        ("queue.purge", {}),
        ("queue.delete", {}),
        ("basic.consume", {}),
        ("basic.get", {}),
    ],
)
def test_exclusive_queue_is_405_for_other_connections(connect, method, arguments):
    owner, other = connect(), connect()
    owner.queue("q", exclusive=True)
    other.send(method, queue="q", **arguments)
    other.expect_closed(405)
    owner.call("channel.open", 2)
    owner.call("queue.declare", 2, queue="q", exclusive=True)
    other.call("channel.open")
    other.publish(b"m")  # publishing reaches it all the same
    assert owner.get("q") == b"m"


def test_exclusive_queue_goes_with_its_connection_and_not_with_its_channel(connect):
    owner, other = connect(), connect()
    owner.queue("q", exclusive=True, durable=True)
    owner.call("channel.close")
    other.send("queue.declare", queue="q", passive=True)
    other.expect_closed(405)
    owner.call("connection.close", 0)
    other.call("channel.open")
    other.send("queue.declare", queue="q", passive=True)
    other.expect_closed(404)


def test_auto_delete_queue_goes_with_its_last_consumer(peer):
    peer.queue("q", auto_delete=True)
    assert peer.count() == 0  # it never had a consumer
    peer.consume(tag="a")
    peer.call("channel.open", 2)
    peer.consume(tag="b", channel=2)
    peer.call("basic.cancel", consumer_tag="a")
    assert peer.count() == 0
    peer.call("channel.close", 2)
    peer.send("queue.declare", queue="q", passive=True)
    peer.expect_closed(404)


def test_auto_delete_queue_without_consumer_outlives_its_connection(connect):
    owner, other = connect(), connect()
    owner.queue("q", auto_delete=True)
    owner.call("connection.close", 0)
    assert other.count() == 0


def test_purge_leaves_what_is_delivered(connect):
    peer, other = connect(), connect()
    peer.queue("q")
    for body in (b"1", b"2", b"3"):
        peer.publish(body)
    peer.get(no_ack=False)
    assert peer.call("queue.purge", queue="q")["message_count"] == 2
    peer.call("channel.close")
    assert other.drain() == [b"1"]


@pytest.mark.parametrize("method", ["queue.purge", "queue.delete", "basic.consume", "basic.get"])
@pytest.mark.parametrize("queue", ["none", ""])
def test_missing_queue_is_404(peer, method, queue):
    peer.send(method, queue=queue)
    peer.expect_closed(404)


def test_delete_counts_messages_and_forgets_unacknowledged_ones(connect):
    peer, other = connect(), connect()
    peer.queue("q")
    for body in (b"1", b"2"):
        peer.publish(body)
    peer.get(no_ack=False)
    assert other.call("queue.delete", queue="q")["message_count"] == 1
    other.queue("q")
    peer.send("basic.nack", delivery_tag=1, requeue=True)
    peer.call("channel.close")
    assert other.count() == 0


def test_delete_minds_its_conditions(peer):
    peer.queue("q")
    peer.consume()
    peer.send("queue.delete", queue="q", if_unused=True)
    peer.expect_closed(406)
    peer.call("channel.open")
    peer.publish(b"m")
    peer.send("queue.delete", queue="q", if_empty=True)
    peer.expect_closed(406)
    peer.call("channel.open")
    peer.drain()
    peer.call("queue.delete", queue="q", if_empty=True, if_unused=True)


@pytest.mark.parametrize("able", [True, False])
def test_deleted_queue_cancels_consumers_that_can_be_told(connect, able):
    peer, other = connect(consumer_cancel_notify=able), connect()
    peer.queue("q")
    peer.consume(tag="t")
    other.call("queue.delete", queue="q")
    if able:
        peer.expect("basic.cancel", consumer_tag="t", no_wait=True)
    peer.expect_nothing()
    peer.call("basic.cancel", consumer_tag="t")  # of a consumer that is gone: no error
    other.queue("q")
    peer.consume(tag="t")


def test_delete_is_answered_before_its_consumers_are_told(connect):
    peer = connect(consumer_cancel_notify=True)
    peer.queue("q")
    peer.consume()
    peer.call("queue.delete", queue="q")
    peer.expect("basic.cancel", consumer_tag="c")


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-message-ttl": -1},
        {"x-message-ttl": "5"},
        {"x-message-ttl": 1.5},
        {"x-message-ttl": True},
        {"x-message-ttl": 2**40},
        {"x-expires": 0},
        {"x-expires": -1},
        {"x-expires": "1000"},
        {"x-max-length": -1},
        {"x-max-length": "1"},
        {"x-max-length-bytes": -1},
        {"x-overflow": "drop-tail"},
        {"x-overflow": 1},
        {"x-dead-letter-exchange": 1},
        {"x-dead-letter-routing-key": "k"},
        {"x-dead-letter-exchange": "e", "x-dead-letter-routing-key": 1},
        {"x-max-priority": -1},
        {"x-max-priority": 256},
        {"x-max-priority": "9"},
        {"x-single-active-consumer": "yes"},
        {"x-queue-type": "odd"},
        {"x-delivery-limit": -1},
    ],
    ids=str,
)
def test_illegal_arguments_are_406(peer, arguments):
    peer.send("queue.declare", queue="q", arguments=arguments)
    peer.expect_closed(406)
    peer.call("channel.open")
    peer.send("queue.declare", queue="q", passive=True)
    peer.expect_closed(404)


@pytest.mark.parametrize("kind", ["quorum", "stream"])
def test_replicated_queues_are_refused_as_not_implemented(peer, kind):
    peer.send("queue.declare", queue="q", durable=True, arguments={"x-queue-type": kind})
    peer.expect_closed(540, hard=True)


def test_unknown_arguments_are_kept_and_compared(peer):
    peer.queue("q", arguments={"x-queue-master-locator": "min-masters", "x-queue-mode": "lazy", "mine": [1]})
    peer.send("queue.declare", queue="q", arguments={})
    peer.expect_closed(406)
