"""AMQP 0-9-1 class queue: declare."""

from typing import Any

import pytest
from mqproof.harness.verdicts import Untested
from mqproof.harness.wires.amqp_message import tell

CHANNEL_ERRORS = (403, 404, 405, 406)
TOUCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "declare": ("queue.declare", {}),
    "declare passively": ("queue.declare", {"passive": True}),
    "bind": ("queue.bind", {"exchange": "amq.direct", "routing_key": "k"}),
    "unbind": ("queue.unbind", {"exchange": "amq.direct", "routing_key": "k"}),
    "purge": ("queue.purge", {}),
    "delete": ("queue.delete", {}),
    "consume": ("basic.consume", {}),
    "get": ("basic.get", {}),
}


def redeclare(wire, queue, **options):
    wire.send("queue.declare", queue=queue, **options)


def take_argument(wire, options):
    """Raise Untested where the broker takes no such argument at all: what arguments mean is its own affair."""
    redeclare(wire, wire.things.queue(remove=False), **(options | {"exclusive": True}))
    reaction = wire.expect("queue.declare-ok", "channel.close", "connection.close")
    if reaction.name != "queue.declare-ok":
        raise Untested(f"the broker takes no such argument: {tell(reaction)}")


@pytest.mark.normative("amqp-0-9-1:queue.declare/minimum-queues")
def test_two_hundred_fifty_six_queues_can_be_declared(wire):
    names = [wire.things.queue(remove=False) for _ in range(256)]
    for name in names:
        redeclare(wire, name, exclusive=True)
    for name in names:
        wire.must_receive("queue.declare-ok", queue=name)


@pytest.mark.normative("amqp-0-9-1:queue.declare.queue/default-name")
def test_empty_name_makes_a_queue_with_a_unique_name(wire):
    names = set()
    for _ in range(5):
        redeclare(wire, "", exclusive=True)
        names.add(wire.must_receive("queue.declare-ok").arguments["queue"])
    assert (len(names), "" in names) == (5, False)


@pytest.mark.normative("amqp-0-9-1:queue.declare.queue/default-name")
def test_server_named_queue_works_under_its_name(wire):
    redeclare(wire, "", exclusive=True)
    queue = wire.expect("queue.declare-ok").arguments["queue"]
    body = wire.publish("", queue)
    assert [message.body for message in [wire.get(queue)] if message] == [body]


@pytest.mark.needs("server_named_queue")
@pytest.mark.normative("amqp-0-9-1:server-named-queue/01")
def test_server_named_queue_begins_with_amq_gen_and_is_the_channels_last_queue(wire):
    redeclare(wire, "", exclusive=True)
    queue = wire.must_receive("queue.declare-ok").arguments["queue"]
    assert queue.startswith("amq.gen-")
    body = wire.publish("", queue)
    assert [message.body for message in [wire.get("")] if message] == [body]


@pytest.mark.normative("amqp-0-9-1:queue.declare.queue/reserved")
def test_new_queue_with_a_reserved_name_is_refused_with_403(wire):
    redeclare(wire, f"amq.{wire.things.queue(remove=False)}", exclusive=True)
    wire.must_refuse(403, fenced=False)


@pytest.mark.normative("amqp-0-9-1:queue.declare.queue/reserved")
def test_existing_queue_with_a_reserved_name_may_be_declared_passively(wire):
    redeclare(wire, "", exclusive=True)
    queue = wire.expect("queue.declare-ok").arguments["queue"]
    redeclare(wire, queue, passive=True)
    wire.must_receive("queue.declare-ok", queue=queue)


@pytest.mark.normative("amqp-0-9-1:queue.declare.queue/syntax")
@pytest.mark.parametrize("sign", [" ", "/", "*", "ü", "\t"])
def test_queue_name_with_an_illegal_character_is_refused_with_406(wire, sign):
    redeclare(wire, f"{wire.things.queue(remove=False)}{sign}x", exclusive=True)
    wire.must_refuse(406, fenced=False)


@pytest.mark.normative("amqp-0-9-1:queue.declare.queue/syntax")
def test_queue_name_of_all_legal_characters_is_accepted(wire):
    name = f"{wire.things.queue(remove=False)}aZ09-_.:"
    redeclare(wire, name, exclusive=True)
    wire.must_receive("queue.declare-ok", queue=name)


@pytest.mark.normative("amqp-0-9-1:queue.declare.passive/passive")
def test_passive_declare_of_a_missing_queue_gives_404(wire):
    redeclare(wire, wire.things.absent(), passive=True)
    wire.must_refuse(404, fenced=False)


@pytest.mark.normative("amqp-0-9-1:queue.declare.passive/passive")
def test_passive_declare_tells_the_counts_of_an_existing_queue(wire):
    queue = wire.queue()
    for _ in range(3):
        wire.publish("", queue)
    redeclare(wire, queue, passive=True, durable=True, auto_delete=True)  # all but the name is ignored
    wire.must_receive("queue.declare-ok", queue=queue, message_count=3, consumer_count=0)


@pytest.mark.normative("amqp-0-9-1:queue.declare.passive/equivalent")
@pytest.mark.parametrize(
    "options",
    [{"exclusive": True}, {"durable": True}, {"exclusive": True, "arguments": {"x-mqproof": "a"}}],
    ids=["exclusive", "durable", "arguments"],
)
def test_equal_redeclaration_of_a_queue_is_accepted_and_keeps_its_messages(wire, wires, options):
    if "arguments" in options:
        take_argument(wires(), options)
    queue = wire.queue(shared="durable" in options, **options)
    body = wire.publish("", queue)
    redeclare(wire, queue, **options)
    wire.must_receive("queue.declare-ok", queue=queue, message_count=1)
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:queue.declare.passive/equivalent")
@pytest.mark.parametrize(
    "change",
    [{"durable": False}, {"exclusive": True}, {"arguments": {"x-max-length": 5}}],
    ids=["durable", "exclusive", "arguments"],
)
def test_unequal_redeclaration_of_a_queue_is_a_channel_error(wire, wires, change):
    if "arguments" in change:
        take_argument(wires(), change)
    queue = wire.queue(shared=True)
    redeclare(wire, queue, **({"durable": True} | change))
    wire.must_refuse(*CHANNEL_ERRORS, fenced=False)


@pytest.mark.normative("amqp-0-9-1:queue.declare.durable/types")
@pytest.mark.parametrize("durable", [False, True])
def test_durable_and_transient_queues_can_be_declared(wire, durable):
    """The transient one is exclusive: a broker may deprecate transient queues that anybody can use."""
    name = wire.things.queue()
    redeclare(wire, name, durable=durable, exclusive=not durable)
    wire.must_receive("queue.declare-ok", queue=name)


@pytest.mark.normative("amqp-0-9-1:queue.declare.exclusive/types")
@pytest.mark.parametrize("exclusive", [False, True])
def test_exclusive_and_shared_queues_can_be_declared(wire, exclusive):
    name = wire.things.queue()
    redeclare(wire, name, exclusive=exclusive, durable=not exclusive)
    wire.must_receive("queue.declare-ok", queue=name)


@pytest.mark.normative("amqp-0-9-1:queue.declare.exclusive/exclusive")
@pytest.mark.parametrize("touch", TOUCHES)
def test_exclusive_queue_is_locked_to_other_connections_with_405(wires, touch):
    owner, other = wires(), wires()
    queue = owner.queue("k", exchange="amq.direct")
    name, options = TOUCHES[touch]
    other.send(name, queue=queue, **options)
    other.must_refuse(405, fenced=False)


@pytest.mark.normative("amqp-0-9-1:queue.declare.exclusive/exclusive", "amqp-0-9-1:queue.declare.exclusive/types")
def test_exclusive_queue_serves_all_channels_of_its_connection(wire):
    queue = wire.queue()
    wire.open_channel(2)
    body = wire.publish("", queue)
    wire.send("basic.get", channel=2, queue=queue, no_ack=True)
    assert wire.must_receive("basic.get-ok", channel=2).body == body


@pytest.mark.normative("amqp-0-9-1:queue.declare.auto-delete/pre-existence")
def test_auto_delete_flag_of_an_existing_queue_never_changes(wire):
    """One rule says that the flag is ignored, another that it is compared: ok or a channel error, and no change."""
    queue = wire.queue(shared=True)
    redeclare(wire, queue, durable=True, auto_delete=True)
    reaction = wire.must_receive("queue.declare-ok", "channel.close")
    if reaction.name == "channel.close":
        assert reaction.arguments["reply_code"] in CHANNEL_ERRORS
        wire.send("channel.close-ok")
        wire.open_channel()
    wire.consume(queue, consumer_tag="only")
    wire.call("basic.cancel", consumer_tag="only")
    redeclare(wire, queue, passive=True)
    wire.must_receive("queue.declare-ok", queue=queue)


@pytest.mark.normative("amqp-0-9-1:3.1.4/auto-delete")
def test_auto_delete_queue_goes_with_its_last_consumer(wire):
    queue = wire.queue(auto_delete=True)
    for tag in ("first", "last"):
        wire.consume(queue, consumer_tag=tag)
    wire.call("basic.cancel", consumer_tag="first")
    redeclare(wire, queue, passive=True)
    wire.must_receive("queue.declare-ok", queue=queue)
    wire.call("basic.cancel", consumer_tag="last")
    wire.must_lose(queue)


@pytest.mark.normative("amqp-0-9-1:3.1.4/auto-delete")
def test_auto_delete_queue_that_never_had_a_consumer_stays(wires):
    owner, other = wires(), wires()
    queue = owner.queue(shared=True, auto_delete=True)
    body = owner.publish("", queue)
    owner.get(queue, no_ack=False)
    owner.close_connection()
    other.send("queue.declare", queue=queue, passive=True)
    other.must_receive("queue.declare-ok", queue=queue)
    assert other.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:queue.declare.passive/passive")
def test_consumer_count_tells_the_consumers(wire):
    queue = wire.queue()
    for number in (1, 2):
        wire.consume(queue)
        redeclare(wire, queue, passive=True)
        wire.must_receive("queue.declare-ok", queue=queue, consumer_count=number)


@pytest.mark.normative("amqp-0-9-1:4.6/synchronous-effects")
def test_nowait_declare_is_not_answered_and_works(wire):
    name = wire.things.queue(remove=False)
    redeclare(wire, name, exclusive=True, no_wait=True)
    wire.fence()
    assert wire.arrived("queue.declare-ok") == []
    body = wire.publish("", name)
    assert wire.drain(name) == [body]
