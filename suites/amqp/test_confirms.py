"""Publisher confirms: the class confirm, which the extensions add to AMQP 0-9-1."""

import pytest
from mqproof.harness.verdicts import Deviation, check
from mqproof.harness.wires.amqp_message import tell

BUSY = 2000  # messages

pytestmark = pytest.mark.needs("publisher_confirms")


def settled(wire, number, channel=1):
    """Accuse the broker unless it settles so many tags; return them in the order of settling.

    ``multiple`` settles what is outstanding up to its tag, in whatever order the confirms come.
    """
    outstanding = set(range(1, number + 1))
    tags: list[int] = []
    while outstanding:
        confirm = wire.must_receive("basic.ack", "basic.nack", channel=channel).arguments
        tag = confirm["delivery_tag"]
        found = sorted(entry for entry in outstanding if entry <= tag) if confirm["multiple"] else [tag]
        tags += found
        outstanding -= set(found)
    return tags


@pytest.mark.normative("amqp-0-9-1:publisher-confirms/01")
def test_confirm_select_is_answered(wire):
    wire.send("confirm.select")
    wire.must_receive("confirm.select-ok", channel=1)


@pytest.mark.normative("amqp-0-9-1:publisher-confirms/01")
def test_confirm_select_with_nowait_is_not_answered(wire):
    wire.send("confirm.select", nowait=True)
    wire.fence()
    assert wire.arrived("confirm.select-ok") == []


@pytest.mark.normative("amqp-0-9-1:publisher-confirms/02", "amqp-0-9-1:confirm/all-messages-acknowledged")
@pytest.mark.parametrize("mode", [1, 2], ids=["transient", "persistent"])
def test_single_confirm_carries_the_number_of_the_publish(wire, mode):
    queue = wire.queue()
    wire.call("confirm.select")
    for tag in (1, 2, 3):
        wire.send_content("", queue, properties={"delivery_mode": mode})
        wire.must_receive("basic.ack", channel=1, delivery_tag=tag)


@pytest.mark.normative("amqp-0-9-1:confirm/all-messages-acknowledged", "amqp-0-9-1:publisher-confirms/03")
def test_batch_is_confirmed_completely_and_once(wire):
    """Confirms may come one by one or through multiple=true, but each publish is settled once."""
    queue = wire.queue()
    wire.call("confirm.select")
    for _ in range(100):
        wire.send_content("", queue)
    tags = settled(wire, 100)
    wire.fence()
    assert (sorted(tags), wire.arrived("basic.ack", "basic.nack", channel=1)) == (list(range(1, 101)), [])


@pytest.mark.normative("amqp-0-9-1:confirm/all-messages-acknowledged", "amqp-0-9-1:publisher-confirms/03")
def test_every_publish_of_a_busy_connection_is_confirmed_once(wire):
    """Two channels, transient and persistent messages in turn, to a durable queue: nothing waits for its confirm."""
    queue = wire.queue(shared=True)
    wire.open_channel(2)
    for channel in (1, 2):
        wire.call("confirm.select", channel=channel)
    for number in range(BUSY):
        mode = 1 + number % 3 % 2
        wire.send_content("", queue, b"x" * 100, channel=1 + number % 2, properties={"delivery_mode": mode})
    tags = [settled(wire, BUSY // 2, channel) for channel in (1, 2)]
    wire.fence(1)
    wire.fence(2)
    assert [sorted(channel) for channel in tags] == [list(range(1, BUSY // 2 + 1))] * 2
    assert wire.arrived("basic.ack", "basic.nack") == []


@pytest.mark.normative("amqp-0-9-1:publisher-confirms/02")
def test_each_channel_counts_for_itself(wire):
    queue = wire.queue()
    wire.open_channel(2)
    for channel in (1, 2):
        wire.call("confirm.select", channel=channel)
    for channel in (1, 1, 2):
        wire.send_content("", queue, channel=channel)
    wire.must_receive("basic.ack", channel=2, delivery_tag=1)
    assert sorted(settled(wire, 2)) == [1, 2]


@pytest.mark.normative("amqp-0-9-1:publisher-confirms/02")
def test_counting_begins_with_confirm_select(wire):
    queue = wire.queue()
    wire.send_content("", queue)
    wire.call("confirm.select")
    wire.send_content("", queue)
    wire.must_receive("basic.ack", channel=1, delivery_tag=1)


@pytest.mark.normative("amqp-0-9-1:publisher-confirms/04")
def test_unroutable_message_is_confirmed(wire):
    exchange = wire.exchange("direct")
    wire.call("confirm.select")
    wire.send_content(exchange, "nowhere")
    wire.must_receive("basic.ack", channel=1, delivery_tag=1)
    assert wire.arrived("basic.return") == []


@pytest.mark.normative(
    "amqp-0-9-1:confirm/unroutable-messages",
    "amqp-0-9-1:publisher-confirms/05",
    "amqp-0-9-1:basic.publish.mandatory/01",
)
def test_unroutable_mandatory_message_is_returned_before_its_confirm(wire):
    exchange = wire.exchange("direct")
    wire.call("confirm.select")
    body = wire.send_content(exchange, "nowhere", mandatory=True)
    first = wire.must_receive("basic.return", "basic.ack", "basic.nack", channel=1)
    order = ("amqp-0-9-1:confirm/unroutable-messages", "amqp-0-9-1:publisher-confirms/05")
    if first.name == "basic.return":
        assert (wire.must_receive("basic.ack", channel=1, delivery_tag=1).name, first.body) == ("basic.ack", body)
    else:
        wire.fence()
        returned = wire.arrived("basic.return")
        check(returned, expected="basic.return", actual=tell(first), statement="amqp-0-9-1:basic.publish.mandatory/01")
        raise Deviation("basic.return before the confirm", f"{tell(first)} before basic.return", order)


@pytest.mark.normative("amqp-0-9-1:publisher-confirms/05")
def test_routable_mandatory_message_is_confirmed_and_not_returned(wire):
    queue = wire.queue()
    wire.call("confirm.select")
    wire.send_content("", queue, mandatory=True)
    wire.must_receive("basic.ack", channel=1, delivery_tag=1)
    assert wire.arrived("basic.return") == []


@pytest.mark.normative("amqp-0-9-1:publisher-confirms/06")
@pytest.mark.parametrize(("first", "second"), [("tx.select", "confirm.select"), ("confirm.select", "tx.select")])
def test_channel_is_transactional_or_confirming_never_both(wire, first, second):
    wire.call(first)
    wire.send(second)
    wire.must_refuse(406, fenced=False)


@pytest.mark.normative("amqp-0-9-1:publisher-confirms/07")
def test_second_confirm_select_changes_nothing(wire):
    queue = wire.queue()
    wire.call("confirm.select")
    wire.send_content("", queue)
    wire.must_receive("basic.ack", channel=1, delivery_tag=1)
    wire.send("confirm.select")
    wire.must_receive("confirm.select-ok", channel=1)
    wire.send_content("", queue)
    wire.must_receive("basic.ack", channel=1, delivery_tag=2)


@pytest.mark.normative("amqp-0-9-1:publisher-confirms/08", "amqp-0-9-1:confirm/all-queues")
def test_message_for_several_queues_is_confirmed_once_and_is_in_each(wire):
    exchange = wire.exchange("fanout")
    queues = [wire.queue(exchange=exchange) for _ in range(3)]
    wire.call("confirm.select")
    wire.send_content(exchange)
    wire.must_receive("basic.ack", channel=1, delivery_tag=1)
    assert [wire.ready(queue) for queue in queues] == [1, 1, 1]
    assert wire.arrived("basic.ack", "basic.nack") == []
