"""Extension connection.blocked: what a broker that is short of memory says to publishers."""

import pytest
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_verbs import Things

pytestmark = [pytest.mark.destructive, pytest.mark.slow]


@pytest.mark.needs("connection.blocked")
@pytest.mark.normative("amqp-0-9-1:connection-blocked/01", "amqp-0-9-1:connection-blocked/02")
def test_publisher_is_blocked_and_unblocked_while_consumers_go_on(target, own_brokers):
    broker, own = own_brokers(target)
    things = Things(lambda kind: f"mqproof-alarm-{kind}")
    publisher, consumer = AmqpWire(own, things).open(), AmqpWire(own, things).open()
    queue = publisher.queue(shared=True)
    bodies = [publisher.publish("", queue) for _ in range(3)]
    broker.alarm(True)
    try:
        publisher.send_content("", queue)
        publisher.wait(0.5)  # an alarm may take a moment to reach a broker, and concerns what is published after it
        publisher.send_content("", queue)
        publisher.must_receive("connection.blocked", channel=0)
        consumer.consume(queue, prefetch=3)
        assert [message.body for message in consumer.must_take(3)] == bodies
    finally:
        broker.alarm(False)
    publisher.must_receive("connection.unblocked", channel=0)
