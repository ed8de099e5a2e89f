"""Limits of a broker's configuration, set so low that a test can reach them: consumer timeout, largest message."""

import pytest
from mqproof.harness.verdicts import Untested, check
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_verbs import Things

LARGEST = 65536  # octets
TIMEOUT = 1000  # milliseconds

pytestmark = [pytest.mark.destructive, pytest.mark.slow]


@pytest.fixture(scope="module")
def broker_options():
    """Low limits, and a look at consumers twice a second."""
    return {
        "max_message_size": str(LARGEST), "consumer_timeout": str(TIMEOUT), "channel_tick_interval": str(TIMEOUT // 2),
    }  # fmt: skip


@pytest.fixture
def own_wire(own_brokers, target, request, cleanup):
    """A raw connection to the broker with low limits. Raises Untested where queues have limits of their own."""
    if "consumer_timeout" in target.capabilities:
        raise Untested("its queues take a timeout of their own, and are examined where they run")
    _, own = own_brokers(target)
    wire = AmqpWire(own, Things(lambda kind: f"mqproof-{request.node.originalname[:40]}-{kind}"))
    cleanup(wire.close)
    return wire.open()


@pytest.mark.needs("max_message_size")
@pytest.mark.normative("amqp-0-9-1:max-message-size/01")
def test_message_of_the_largest_size_is_taken_and_one_octet_more_is_refused_with_406(own_wire):
    queue = own_wire.queue()
    own_wire.send_content("", queue, bytes(LARGEST))
    own_wire.must_accept()
    own_wire.send_content("", queue, bytes(LARGEST + 1))
    own_wire.must_refuse(406)


@pytest.mark.normative("amqp-0-9-1:consumer-timeout/01")
def test_delivery_unacknowledged_beyond_the_timeout_of_the_configuration_closes_the_channel_with_406(own_wire):
    """From some version on a client that can be told of it gets basic.cancel instead."""
    queue = own_wire.queue()
    own_wire.publish("", queue)
    own_wire.consume(queue)
    own_wire.receive()
    end = own_wire.must_receive("channel.close", "basic.cancel", channel=1, seconds=10.0)
    code = end.arguments.get("reply_code", 406)
    check(code == 406, expected="channel.close 406", actual=f"channel.close {code}")
