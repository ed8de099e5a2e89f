"""AMQP 0-9-1 class exchange: declare and delete."""

import pytest
from mqproof.harness.verdicts import Blocked, Untested
from mqproof.harness.wires.amqp_message import tell

TYPES = ("direct", "fanout", "topic", "headers")
CHANNEL_ERRORS = (403, 404, 405, 406)


def redeclare(wire, name, type_="direct", **options):
    wire.send("exchange.declare", exchange=name, type=type_, **options)


def is_there(wire, name, type_):
    """Return whether there is such an exchange; the channel is open afterwards."""
    redeclare(wire, name, type_, passive=True)
    if wire.expect("exchange.declare-ok", "channel.close").name == "exchange.declare-ok":
        return True
    wire.send("channel.close-ok")
    wire.open_channel()
    return False


def take_argument(wire, options):
    """Raise Untested where the broker takes no such argument at all: what arguments mean is its own affair."""
    redeclare(wire, wire.things.exchange(), **options)
    reaction = wire.expect("exchange.declare-ok", "channel.close", "connection.close")
    if reaction.name != "exchange.declare-ok":
        raise Untested(f"the broker takes no such argument: {tell(reaction)}")


@pytest.mark.normative("amqp-0-9-1:exchange/required-types")
@pytest.mark.parametrize("type_", ["direct", "fanout"])
def test_required_exchange_type_can_be_declared(wire, type_):
    wire.send("exchange.declare", exchange=wire.things.exchange(), type=type_)
    wire.must_receive("exchange.declare-ok")


@pytest.mark.normative("amqp-0-9-1:exchange/recommended-types")
@pytest.mark.parametrize("type_", ["topic", "headers"])
def test_recommended_exchange_type_can_be_declared(wire, type_):
    wire.send("exchange.declare", exchange=wire.things.exchange(), type=type_)
    wire.must_receive("exchange.declare-ok")


@pytest.mark.normative("amqp-0-9-1:exchange/required-instances")
@pytest.mark.parametrize("type_", TYPES)
def test_each_standard_type_that_is_offered_has_its_amq_instance(wire, type_):
    """The headers exchange is amq.headers by this rule and amq.match by section 3.1.3.4: either will do."""
    wire.exchange(type_)  # a broker that does not offer the type blocks here
    if type_ == "headers" and is_there(wire, "amq.match", type_):
        return
    redeclare(wire, f"amq.{type_}", type_, passive=True)
    wire.must_receive("exchange.declare-ok")


@pytest.mark.normative("amqp-0-9-1:3.1.3/undeclared-types", "amqp-0-9-1:3.1.10/x-prefix")
@pytest.mark.parametrize("type_", ["queue", "random", "consistent-hash", "mqproof"])
def test_type_outside_the_standard_has_no_name_without_x(wire, type_):
    """System and the four standard types apart, a type without the prefix x- is not offered."""
    redeclare(wire, wire.things.exchange(), type_)
    wire.must_disconnect(fenced=False)


@pytest.mark.normative("amqp-0-9-1:exchange.declare.type/support")
@pytest.mark.parametrize("type_", ["mqproof-no-such-type", "x-mqproof-no-such-type", ""])
def test_unsupported_type_is_refused_with_503(wire, type_):
    redeclare(wire, wire.things.exchange(), type_)
    wire.must_refuse(503, fenced=False)


@pytest.mark.normative("amqp-0-9-1:exchange/default-access")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("exchange.declare", {"type": "direct"}),
        ("exchange.declare", {"type": "fanout"}),
        ("exchange.delete", {}),
    ],
    ids=["declare", "declare as fanout", "delete"],
)
def test_default_exchange_is_neither_declared_nor_deleted(wire, name, arguments):
    wire.send(name, exchange="", **arguments)
    wire.must_refuse(403, 404, 406, 503, 530, fenced=False, either_level=True)


@pytest.mark.normative("amqp-0-9-1:exchange.declare/minimum")
def test_sixteen_exchanges_can_be_declared(wire):
    names = [wire.things.exchange() for _ in range(16)]
    for name in names:
        redeclare(wire, name)
        wire.must_receive("exchange.declare-ok")


@pytest.mark.normative("amqp-0-9-1:exchange.declare.exchange/reserved")
def test_new_exchange_with_a_reserved_name_is_refused_with_403(wire):
    name = f"amq.{wire.things.exchange()}"
    wire.things.exchanges.append(name)
    redeclare(wire, name)
    wire.must_refuse(403, fenced=False)


@pytest.mark.normative("amqp-0-9-1:exchange.declare.exchange/reserved")
def test_existing_exchange_with_a_reserved_name_may_be_declared_passively(wire):
    redeclare(wire, "amq.fanout", "fanout", passive=True)
    answer = wire.expect("exchange.declare-ok", "channel.close", "connection.close")
    code = answer.arguments.get("reply_code")
    if code not in (None, 403):
        raise Blocked(f"amq.fanout was not refused for its name: {tell(answer)}")
    assert code is None


@pytest.mark.normative("amqp-0-9-1:exchange.declare.exchange/syntax")
@pytest.mark.parametrize("sign", [" ", "/", "*", "ü", "\t"])
def test_exchange_name_with_an_illegal_character_is_refused_with_406(wire, sign):
    name = f"{wire.things.exchange()}{sign}x"
    wire.things.exchanges.append(name)
    redeclare(wire, name)
    wire.must_refuse(406, fenced=False)


@pytest.mark.normative("amqp-0-9-1:exchange.declare.exchange/syntax")
def test_exchange_name_of_all_legal_characters_is_accepted(wire):
    name = f"{wire.things.exchange()}aZ09-_.:"
    wire.things.exchanges.append(name)
    redeclare(wire, name)
    wire.must_receive("exchange.declare-ok")


@pytest.mark.normative("amqp-0-9-1:exchange.declare.type/typed", "amqp-0-9-1:exchange.declare.passive/equivalent")
@pytest.mark.parametrize(("first", "second"), [("direct", "fanout"), ("topic", "direct")])
def test_redeclaring_with_another_type_is_refused(wire, first, second):
    """530 by the one rule, a channel error by the other."""
    redeclare(wire, wire.exchange(first), second)
    wire.must_refuse(530, *CHANNEL_ERRORS, fenced=False)


@pytest.mark.normative("amqp-0-9-1:exchange.declare.passive/not-found")
def test_passive_declare_of_a_missing_exchange_gives_404(wire):
    redeclare(wire, wire.things.absent(), passive=True)
    wire.must_refuse(404, fenced=False)


@pytest.mark.normative("amqp-0-9-1:exchange.declare.passive/not-found")
def test_passive_declare_creates_nothing(wire):
    name = wire.things.exchange()
    for _ in range(2):
        redeclare(wire, name, passive=True)
        wire.must_refuse(404, fenced=False)
        wire.open_channel()


@pytest.mark.normative("amqp-0-9-1:exchange.declare.passive/equivalent")
@pytest.mark.parametrize("options", [{}, {"durable": True}, {"arguments": {"x-mqproof": 1}}], ids=str)
def test_equal_redeclaration_of_an_exchange_is_accepted(wire, wires, options):
    if "arguments" in options:
        take_argument(wires(), options)
    name = wire.exchange("direct", **options)
    redeclare(wire, name, **options)
    wire.must_receive("exchange.declare-ok")


@pytest.mark.normative("amqp-0-9-1:exchange.declare.passive/equivalent")
@pytest.mark.parametrize(
    "change", [{"durable": True}, {"arguments": {"alternate-exchange": "amq.fanout"}}], ids=["durable", "arguments"]
)
def test_unequal_redeclaration_of_an_exchange_is_a_channel_error(wire, wires, change):
    if "arguments" in change:
        take_argument(wires(), change)
    redeclare(wire, wire.exchange("direct"), **change)
    wire.must_refuse(*CHANNEL_ERRORS, fenced=False)


@pytest.mark.normative("amqp-0-9-1:exchange.declare.durable/support")
@pytest.mark.parametrize("durable", [False, True])
def test_durable_and_transient_exchanges_can_be_declared(wire, durable):
    redeclare(wire, wire.things.exchange(), durable=durable)
    wire.must_receive("exchange.declare-ok")


@pytest.mark.normative("amqp-0-9-1:exchange.declare.auto-delete/amq_exchange_02")
def test_auto_delete_exchange_lives_until_it_is_bound(wire):
    exchange, queue = wire.exchange("direct", auto_delete=True), wire.queue()
    wire.fence()
    wire.send("queue.bind", queue=queue, exchange=exchange, routing_key="k")
    wire.must_receive("queue.bind-ok")


@pytest.mark.needs("exchange_auto_delete")
@pytest.mark.normative("amqp-0-9-1:exchange.declare.auto-delete/amq_exchange_25")
@pytest.mark.parametrize("first", [False, True])
def test_auto_delete_flag_of_an_existing_exchange_is_ignored(wire, first):
    redeclare(wire, wire.exchange("direct", auto_delete=first), auto_delete=not first)
    wire.must_receive("exchange.declare-ok")


@pytest.mark.normative("amqp-0-9-1:exchange.delete.exchange/exists")
def test_delete_of_a_missing_exchange_gives_404(wire):
    wire.send("exchange.delete", exchange=wire.things.absent())
    wire.must_refuse(404, fenced=False)


@pytest.mark.normative("amqp-0-9-1:exchange.delete.exchange/exists")
def test_deleted_exchange_is_gone(wire):
    exchange = wire.exchange("direct")
    wire.call("exchange.delete", exchange=exchange)
    redeclare(wire, exchange, passive=True)
    answer = wire.expect("exchange.declare-ok", "channel.close", "connection.close")
    assert answer.name != "exchange.declare-ok"


@pytest.mark.normative("amqp-0-9-1:exchange.delete.if-unused/in-use")
def test_exchange_with_a_binding_is_not_deleted_if_unused(wire):
    exchange = wire.exchange("direct")
    queue = wire.queue("k", exchange=exchange)
    wire.send("exchange.delete", exchange=exchange, if_unused=True)
    wire.must_refuse(406, fenced=False)
    wire.open_channel()
    body = wire.publish(exchange, "k")
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:exchange.delete.if-unused/in-use")
def test_exchange_without_bindings_is_deleted_if_unused(wire):
    exchange = wire.exchange("direct")
    wire.unbind(wire.queue("k", exchange=exchange), exchange, "k")
    wire.send("exchange.delete", exchange=exchange, if_unused=True)
    wire.must_receive("exchange.delete-ok")


@pytest.mark.needs("idempotent_delete")
@pytest.mark.normative("amqp-0-9-1:idempotent-delete/01")
@pytest.mark.parametrize("kind", ["exchange", "queue"])
def test_delete_of_what_is_missing_is_answered_by_ok(wire, kind):
    wire.send(f"{kind}.delete", **{kind: wire.things.absent()})
    wire.must_receive(f"{kind}.delete-ok")


@pytest.mark.needs("default_exchange_lock")
@pytest.mark.normative("amqp-0-9-1:default-exchange-lock/01")
@pytest.mark.parametrize("name", ["exchange.declare", "exchange.delete", "queue.bind", "queue.unbind"])
def test_default_exchange_is_locked_with_403(wire, name):
    given = {"exchange.declare": {"type": "direct"}, "exchange.delete": {}}.get(name, {"queue": wire.queue()})
    wire.send(name, exchange="", **given)
    wire.must_refuse(403, fenced=False)


@pytest.mark.needs("system_exchange_lock")
@pytest.mark.normative("amqp-0-9-1:system-exchange-lock/01")
@pytest.mark.parametrize("type_", TYPES)
def test_amq_exchange_cannot_be_deleted(wire, type_):
    """A broker that failed here would lose a standard exchange: it is declared anew where that is possible."""
    wire.send("exchange.delete", exchange=f"amq.{type_}", if_unused=True)
    wire.must_refuse(403, fenced=False)


@pytest.mark.needs("exchange_auto_delete")
@pytest.mark.normative("amqp-0-9-1:exchange-auto-delete/01")
@pytest.mark.parametrize("end", ["unbind", "delete"])
def test_auto_delete_exchange_goes_with_its_last_binding(wire, end):
    exchange = wire.exchange("direct", auto_delete=True)
    first, second = wire.queue("k", exchange=exchange), wire.queue("k", exchange=exchange)
    wire.unbind(first, exchange, "k")
    redeclare(wire, exchange, passive=True)
    wire.must_receive("exchange.declare-ok")
    if end == "unbind":
        wire.unbind(second, exchange, "k")
    else:
        wire.call("queue.delete", queue=second)
    redeclare(wire, exchange, passive=True)
    wire.must_refuse(404, fenced=False)


@pytest.mark.needs("exchange_internal")
@pytest.mark.normative("amqp-0-9-1:exchange-internal/01", "amqp-0-9-1:basic.publish.exchange/02")
def test_publish_to_an_internal_exchange_is_refused_with_403(wire):
    wire.send_content(wire.exchange("direct", internal=True), "k")
    wire.must_refuse(403)


@pytest.mark.needs("exchange_internal", "exchange_exchange_bindings")
@pytest.mark.normative("amqp-0-9-1:exchange-internal/01")
def test_internal_exchange_is_fed_by_another_exchange(wire):
    inner, outer = wire.exchange("fanout", internal=True), wire.exchange("fanout")
    wire.link(outer, inner)
    queue = wire.queue(exchange=inner)
    body = wire.publish(outer)
    assert wire.drain(queue, exchange=outer) == [body]
