"""AMQP 0-9-1 class tx: commit and rollback of publishes and acknowledgements."""

import pytest

COMMIT = "amqp-0-9-1:tx.commit/transacted"
ROLLBACK = "amqp-0-9-1:tx.rollback/transacted"


@pytest.mark.normative(COMMIT, ROLLBACK)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("tx.commit", marks=pytest.mark.normative(COMMIT)),
        pytest.param("tx.rollback", marks=pytest.mark.normative(ROLLBACK)),
    ],
)
def test_commit_and_rollback_need_a_transacted_channel(wire, name):
    wire.send(name)
    wire.must_refuse(406, fenced=False)


@pytest.mark.normative(COMMIT)
def test_second_select_is_harmless(wire):
    for _ in range(2):
        wire.send("tx.select")
        wire.must_receive("tx.select-ok")
    wire.send("tx.commit")
    wire.must_receive("tx.commit-ok")


@pytest.mark.normative(COMMIT)
def test_published_messages_reach_the_queue_at_commit_and_not_before(wire):
    queue = wire.queue()
    wire.drain(queue)  # the way to it is open
    wire.open_channel(2)
    wire.call("tx.select", channel=2)
    bodies = [wire.send_content("", queue, channel=2) for _ in range(3)]
    wire.fence(channel=2)
    assert wire.ready(queue) == 0
    wire.send("tx.commit", channel=2)
    wire.must_receive("tx.commit-ok", channel=2)
    assert wire.drain(queue) == bodies


@pytest.mark.normative(ROLLBACK)
def test_published_messages_are_dropped_at_rollback(wire):
    queue = wire.queue()
    wire.open_channel(2)
    wire.call("tx.select", channel=2)
    wire.send_content("", queue, channel=2)
    wire.send("tx.rollback", channel=2)
    wire.must_receive("tx.rollback-ok", channel=2)
    body = wire.send_content("", queue, channel=2)
    wire.call("tx.commit", channel=2)
    assert wire.drain(queue) == [body]


@pytest.mark.normative(ROLLBACK)
@pytest.mark.parametrize("end", ["channel", "connection"])
def test_work_that_was_not_committed_ends_with_its_channel(amqp, wires, end):
    queue = amqp.queue(shared=True)
    wire = wires()
    wire.call("tx.select")
    wire.send_content("", queue)
    wire.fence()
    wire.close_channel() if end == "channel" else wire.close_connection()
    assert amqp.drain(queue) == []


@pytest.mark.normative(COMMIT)
def test_acknowledgement_counts_at_commit(wire):
    queue = wire.queue()
    wire.publish("", queue)
    wire.open_channel(2)
    wire.call("tx.select", channel=2)
    got = wire.call("basic.get", channel=2, queue=queue)
    wire.ack(got.arguments["delivery_tag"], channel=2)
    wire.call("tx.commit", channel=2)
    wire.close_channel(2)
    assert wire.drain(queue) == []


@pytest.mark.normative(ROLLBACK)
def test_acknowledgement_is_undone_at_rollback(wire):
    """Rolled back, the message is unacknowledged as before: it comes back when the channel closes."""
    queue = wire.queue()
    body = wire.publish("", queue)
    wire.open_channel(2)
    wire.call("tx.select", channel=2)
    got = wire.call("basic.get", channel=2, queue=queue)
    wire.ack(got.arguments["delivery_tag"], channel=2)
    wire.call("tx.rollback", channel=2)
    wire.close_channel(2)
    assert wire.drain(queue) == [body]


@pytest.mark.normative(ROLLBACK)
def test_message_can_be_acknowledged_again_after_rollback(wire):
    queue = wire.queue()
    wire.publish("", queue)
    wire.open_channel(2)
    wire.call("tx.select", channel=2)
    tag = wire.call("basic.get", channel=2, queue=queue).arguments["delivery_tag"]
    for settle in ("tx.rollback", "tx.commit"):
        wire.ack(tag, channel=2)
        wire.send(settle, channel=2)
        wire.must_receive(f"{settle}-ok", channel=2)
    wire.close_channel(2)
    assert wire.drain(queue) == []


@pytest.mark.needs("tx_reject")
@pytest.mark.normative("amqp-0-9-1:tx-reject/01")
@pytest.mark.parametrize("refuse", ["basic.reject", "basic.nack"])
def test_refusal_counts_at_commit_and_not_before(wire, refuse):
    queue = wire.queue()
    body = wire.publish("", queue)
    wire.open_channel(2)
    wire.call("tx.select", channel=2)
    got = wire.call("basic.get", channel=2, queue=queue)
    wire.send(refuse, channel=2, delivery_tag=got.arguments["delivery_tag"], requeue=True)
    wire.fence(channel=2)
    assert wire.ready(queue) == 0
    wire.call("tx.commit", channel=2)
    assert wire.drain(queue) == [body]


@pytest.mark.needs("tx_reject")
@pytest.mark.normative("amqp-0-9-1:tx-reject/01")
def test_refusal_is_undone_at_rollback(wire):
    queue = wire.queue()
    body = wire.publish("", queue)
    wire.open_channel(2)
    wire.call("tx.select", channel=2)
    got = wire.call("basic.get", channel=2, queue=queue)
    wire.send("basic.reject", channel=2, delivery_tag=got.arguments["delivery_tag"], requeue=False)
    wire.call("tx.rollback", channel=2)
    wire.close_channel(2)
    assert wire.drain(queue) == [body]
