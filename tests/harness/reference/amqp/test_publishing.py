"""Publishing: returns, confirms, transactions, blocked publishers (classes basic, confirm and tx)."""

import pytest
from mqproof.harness.reference.amqp.broker import Broker, Settings


def test_body_and_routing_arrive_as_sent(peer):
    peer.queue("q")
    body = bytes(range(256)) * 1000
    peer.publish(body, "q", properties={"type": "t"})
    peer.send("basic.get", queue="q")
    arguments, properties, got = peer.expect_content("basic.get-ok", exchange="", routing_key="q", redelivered=False)
    assert (properties, got, arguments["delivery_tag"]) == ({"type": "t"}, body, 1)


@pytest.mark.parametrize(
    ("flags", "code"),
    [({}, None), ({"mandatory": True}, 312), ({"immediate": True}, 313), ({"mandatory": True, "immediate": True}, 312)],
)
def test_unroutable_messages_return_when_asked_for(peer, flags, code):
    peer.publish(b"m", "nowhere", properties={"type": "t"}, **flags)
    if code is not None:
        arguments, properties, body = peer.expect_content("basic.return", reply_code=code, routing_key="nowhere")
        assert (properties, body, arguments["exchange"]) == ({"type": "t"}, b"m", "")
    peer.expect_nothing()


def test_immediate_needs_a_consumer_with_room(peer):
    peer.queue("q")
    peer.publish(b"1", mandatory=True, immediate=True)
    peer.expect_content("basic.return", reply_code=313)
    assert peer.count() == 0
    peer.call("basic.qos", prefetch_count=1)
    peer.consume()
    peer.publish(b"2", immediate=True)
    assert peer.bodies() == [b"2"]
    peer.publish(b"3", immediate=True)
    assert peer.expect_content("basic.return", reply_code=313)[2] == b"3"
    assert peer.count() == 0


@pytest.mark.parametrize("user", ["guest", "other", ""])
def test_user_id_must_be_the_login(peer, user):
    peer.queue("q")
    peer.publish(b"m", properties={"user_id": user})
    if user == "guest":
        assert peer.drain() == [b"m"]
    else:
        peer.expect_closed(406)


@pytest.mark.parametrize("expiration", ["", "abc", "-1", "1.5", " 1", "1_0", "٣"])
def test_expiration_must_be_a_number(peer, expiration):
    peer.publish(b"m", properties={"expiration": expiration})
    peer.expect_closed(406)


def test_confirms_count_from_one_and_go_together(peer):
    peer.queue("q")
    peer.publish(b"before")
    peer.call("confirm.select")
    peer.publish(b"1")
    peer.expect("basic.ack", delivery_tag=1, multiple=False)
    peer.call("confirm.select")
    peer.publish(b"2", "nowhere")
    peer.expect("basic.ack", delivery_tag=2)
    peer.expect_nothing()


def test_return_comes_before_its_ack(peer):
    peer.call("confirm.select")
    peer.publish(b"1", "nowhere", mandatory=True)
    peer.expect_content("basic.return", reply_code=312)
    peer.expect("basic.ack", delivery_tag=1)


def test_each_publish_of_a_burst_is_settled_once(peer):
    from mqproof.dissectors.amqp.codec import content, encode

    peer.queue("q", arguments={"x-max-length": 3, "x-overflow": "reject-publish"})
    peer.call("confirm.select")
    burst = [encode(frame) for _ in range(5) for frame in content("basic.publish", body=b"m", routing_key="q")]
    burst += [encode(frame) for frame in content("basic.publish", body=b"m", routing_key="nowhere")]
    peer.raw(b"".join(burst))
    shown = [(frame.name, frame.arguments["delivery_tag"], frame.arguments["multiple"]) for frame in peer.frames()]
    assert shown == [
        ("basic.ack", 3, True),
        ("basic.nack", 4, False),
        ("basic.nack", 5, False),
        ("basic.ack", 6, False),
    ]


@pytest.mark.parametrize("ending", ["queue.declare", "channel.close", "none"])
def test_confirms_are_sent_before_what_follows(peer, ending):
    from mqproof.dissectors.amqp.codec import content, encode, method

    peer.queue("q")
    peer.call("confirm.select")
    frames = content("basic.publish", body=b"m", routing_key="q")
    frames.append(method("queue.declare", 1, queue="none", passive=True) if ending == "none" else method(ending, 1))
    peer.raw(b"".join(map(encode, frames)))
    peer.expect("basic.ack", delivery_tag=1)
    peer.expect("channel.close" if ending == "none" else f"{ending}-ok")


def test_connection_exception_does_not_follow_by_confirms(peer):
    from mqproof.dissectors.amqp.codec import content, encode, method

    peer.call("confirm.select")
    peer.raw(b"".join(map(encode, [*content("basic.publish", routing_key="q"), method("channel.open", 1)])))
    peer.expect("basic.ack", delivery_tag=1)
    peer.expect_closed(504, hard=True)


@pytest.mark.parametrize(("first", "second"), [("tx.select", "confirm.select"), ("confirm.select", "tx.select")])
def test_confirm_and_tx_exclude_each_other(peer, first, second):
    peer.call(first)
    peer.send(second)
    peer.expect_closed(406)


@pytest.mark.parametrize("method", ["tx.commit", "tx.rollback"])
def test_tx_needs_select(peer, method):
    peer.send(method)
    peer.expect_closed(406)


@pytest.mark.parametrize("end", ["tx.commit", "tx.rollback", "channel.close", "connection.close"])
def test_publishes_count_from_commit(connect, end):
    peer, other = connect(), connect()
    peer.queue("q")
    peer.call("tx.select")
    peer.call("tx.select")
    peer.publish(b"1")
    peer.publish(b"2", "nowhere", mandatory=True)
    peer.expect_nothing()
    assert other.count() == 0
    peer.send(end, 0 if end == "connection.close" else 1)
    if end == "tx.commit":
        peer.expect_content("basic.return", reply_code=312)
    peer.expect(f"{end}-ok")
    assert other.drain() == ([b"1"] if end == "tx.commit" else [])


@pytest.mark.parametrize("method", ["basic.ack", "basic.nack", "basic.reject"])
def test_settlements_count_from_commit(connect, method):
    peer, other = connect(), connect()
    peer.queue("q")
    for body in (b"1", b"2"):
        peer.publish(body)
    peer.call("tx.select")
    peer.call("basic.qos", prefetch_count=1)
    peer.consume()
    assert peer.bodies() == [b"1"]
    requeued = method != "basic.ack"
    settle = {"delivery_tag": 1, **({"requeue": True} if requeued else {})}
    peer.send(method, **settle)
    peer.expect_nothing()  # the window is not open yet
    peer.call("tx.rollback")
    peer.expect_nothing()
    peer.send(method, **settle)  # outstanding again
    peer.send("tx.commit")
    assert peer.expect_content("basic.deliver", delivery_tag=2)[2] == b"2"
    peer.expect("tx.commit-ok")
    assert other.drain() == ([b"1"] if requeued else [])


def test_publishing_to_a_missing_exchange_in_a_transaction_is_refused_at_once(peer):
    peer.call("tx.select")
    peer.publish(b"m", exchange="none")
    peer.expect_closed(404)


def test_exchange_may_go_before_the_commit(peer):
    peer.call("exchange.declare", exchange="e", type="fanout")
    peer.call("tx.select")
    peer.publish(b"m", exchange="e", mandatory=True)
    peer.call("exchange.delete", exchange="e")
    peer.send("tx.commit")
    peer.expect_content("basic.return", reply_code=312)
    peer.expect("tx.commit-ok")


@pytest.mark.parametrize("able", [True, False])
def test_alarm_blocks_who_publishes(connect, broker: Broker, able, clock):
    publisher, consumer = connect(**{"connection.blocked": able}, heartbeat=4), connect()
    consumer.queue("q")
    consumer.publish(b"0")
    broker.raise_alarm("no room")
    publisher.queue("other")
    publisher.publish(b"1")
    publisher.publish(b"2")
    if able:
        publisher.expect("connection.blocked", reason="no room")
    publisher.expect_nothing()
    clock.advance(100)
    assert not publisher.ended  # its silence is our doing
    publisher.frames()
    consumer.consume(no_ack=True)
    assert consumer.bodies() == [b"0"]
    broker.clear_alarm()
    if able:
        publisher.expect("connection.unblocked")
    assert consumer.bodies() == [b"1", b"2"]
    publisher.publish(b"3")
    assert consumer.bodies() == [b"3"]


@pytest.mark.parametrize("broker", [Settings(memory_limit=1_000_000)], indirect=True)
def test_memory_is_bounded_by_blocking_publishers(connect, broker, clock):
    peer, other = connect(**{"connection.blocked": True}), connect()
    peer.queue("q")
    for _ in range(3000):
        peer.publish(bytes(1000))
    peer.expect("connection.blocked")
    assert other.count() < 1000
    other.call("queue.purge", queue="q")
    clock.advance(1)
    peer.expect("connection.unblocked")
    assert other.count() > 0


def test_direct_reply_to_reaches_the_requester(connect):
    requester, worker = connect(), connect()
    worker.queue("rpc")
    requester.consume("amq.rabbitmq.reply-to", tag="r", no_ack=True)
    requester.publish(b"question", "rpc", properties={"reply_to": "amq.rabbitmq.reply-to", "correlation_id": "7"})
    worker.send("basic.get", queue="rpc", no_ack=True)
    _, properties, _ = worker.expect_content("basic.get-ok")
    name = properties["reply_to"]
    assert name.startswith("amq.rabbitmq.reply-to.")
    worker.send("queue.declare", queue=name, passive=True)
    worker.expect("queue.declare-ok", queue=name)
    worker.publish(b"answer", name, mandatory=True, properties={"correlation_id": "7"})
    worker.expect_nothing()
    _, properties, body = requester.expect_content("basic.deliver", consumer_tag="r", routing_key=name)
    assert (properties, body) == ({"correlation_id": "7"}, b"answer")
    requester.call("basic.cancel", consumer_tag="r")
    worker.publish(b"late", name, mandatory=True)
    worker.expect_content("basic.return", reply_code=312)
    worker.send("queue.declare", queue=name, passive=True)
    worker.expect_closed(404)


def test_direct_reply_to_ends_with_its_channel(connect, broker):
    requester = connect()
    requester.consume("amq.rabbitmq.reply-to", tag="r", no_ack=True)
    requester.call("channel.close")
    assert broker.vhost("/").router.requesters == {}


def test_direct_reply_to_refuses(connect):
    peer = connect()
    peer.publish(b"m", properties={"reply_to": "amq.rabbitmq.reply-to"})
    peer.expect_closed(406)
    peer.call("channel.open")
    peer.send("basic.consume", queue="amq.rabbitmq.reply-to", no_ack=False)
    peer.expect_closed(406)
    peer.call("channel.open")
    peer.consume("amq.rabbitmq.reply-to", tag="r", no_ack=True)
    peer.send("basic.consume", queue="amq.rabbitmq.reply-to", consumer_tag="s", no_ack=True)
    peer.expect_closed(406)
