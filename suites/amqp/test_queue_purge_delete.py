"""AMQP 0-9-1 class queue: purge and delete."""

import pytest

EITHER = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.normative(f"amqp-0-9-1:{name}.queue/queue-known"))
        for name in ("queue.purge", "queue.delete")
    ],
)


@pytest.mark.normative("amqp-0-9-1:queue.purge/02")
def test_purge_leaves_unacknowledged_messages_alone(wire):
    queue = wire.queue()
    bodies = [wire.publish("", queue) for _ in range(4)]
    held = wire.get(queue, no_ack=False)
    wire.send("queue.purge", queue=queue)
    wire.must_receive("queue.purge-ok")
    wire.send("basic.reject", delivery_tag=held.delivery_tag, requeue=True)
    wire.fence()
    assert wire.drain(queue) == bodies[:1]


@pytest.mark.normative("amqp-0-9-1:queue.purge.queue/queue-known", "amqp-0-9-1:queue.delete.queue/queue-known")
@EITHER
def test_purge_and_delete_without_a_name_need_an_earlier_declare(wire, name):
    """404 by the method, 502 by the queue-name domain."""
    wire.send(name, queue="")
    wire.must_refuse(404, 502, fenced=False)


@pytest.mark.normative("amqp-0-9-1:queue.purge.queue/queue-known", "amqp-0-9-1:queue.delete.queue/queue-known")
@EITHER
def test_purge_and_delete_without_a_name_mean_the_queue_declared_last(wire, name):
    queue = wire.queue()
    wire.publish("", queue)
    wire.send(name, queue="")
    wire.must_receive(f"{name}-ok", message_count=1)


@pytest.mark.normative("amqp-0-9-1:queue.purge.queue/must-exist")
def test_purge_of_a_missing_queue_gives_404(wire):
    wire.send("queue.purge", queue=wire.things.absent())
    wire.must_refuse(404, fenced=False)


@pytest.mark.normative("amqp-0-9-1:queue.delete.queue/must-exist")
def test_delete_of_a_missing_queue_gives_404(wire):
    wire.send("queue.delete", queue=wire.things.absent())
    wire.must_refuse(404, fenced=False)


@pytest.mark.normative("amqp-0-9-1:queue.delete.queue/must-exist")
def test_deleted_queue_is_gone(wire):
    queue = wire.queue()
    wire.call("queue.delete", queue=queue)
    wire.send("queue.declare", queue=queue, passive=True)
    assert wire.expect("queue.declare-ok", "channel.close", "connection.close").name != "queue.declare-ok"


@pytest.mark.normative("amqp-0-9-1:queue.delete.if-unused/in-use")
def test_queue_with_a_consumer_is_not_deleted_if_unused(wire):
    queue = wire.queue()
    wire.consume(queue)
    wire.open_channel(2)
    wire.send("queue.delete", channel=2, queue=queue, if_unused=True)
    wire.must_refuse(406, channel=2, fenced=False)
    wire.publish("", queue)
    assert len(wire.must_take(1)) == 1


@pytest.mark.normative("amqp-0-9-1:queue.delete.if-unused/in-use")
def test_queue_without_consumers_is_deleted_if_unused(wire):
    queue = wire.queue()
    wire.publish("", queue)
    wire.send("queue.delete", queue=queue, if_unused=True)
    wire.must_receive("queue.delete-ok", message_count=1)


@pytest.mark.normative("amqp-0-9-1:queue.delete.if-empty/not-empty")
def test_queue_with_messages_is_not_deleted_if_empty(wire):
    queue = wire.queue()
    body = wire.publish("", queue)
    wire.send("queue.delete", queue=queue, if_empty=True)
    wire.must_refuse(406, fenced=False)
    wire.open_channel()
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:queue.delete.if-empty/not-empty")
def test_empty_queue_is_deleted_if_empty(wire):
    wire.send("queue.delete", queue=wire.queue(), if_empty=True)
    wire.must_receive("queue.delete-ok", message_count=0)


@pytest.mark.needs("dead_letter")
@pytest.mark.normative("amqp-0-9-1:queue.delete/01")
def test_messages_of_a_deleted_queue_go_to_a_dead_letter_queue(wire):
    """Advised by the text; which queue that is, is the broker's: here it is the one that the queue names."""
    graves = wire.queue()
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": graves}
    queue = wire.queue(arguments=arguments)
    body = wire.publish("", queue)
    wire.call("queue.delete", queue=queue)
    assert wire.drain(graves) == [body]


@pytest.mark.normative("amqp-0-9-1:basic.cancel/01")
def test_cancel_after_the_queue_has_gone_is_no_error(wire):
    queue = wire.queue()
    wire.consume(queue, consumer_tag="orphan")
    wire.open_channel(2)
    wire.call("queue.delete", channel=2, queue=queue)
    wire.send("basic.cancel", consumer_tag="orphan")
    wire.must_receive("basic.cancel-ok", consumer_tag="orphan")
