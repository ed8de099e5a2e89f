"""AMQP 0-9-1 sections 2.2.4, 2.3.3 and 4.2.2, class connection: from the protocol header to open."""

import pytest
from mqproof.dissectors.amqp.codec import ProtocolHeader, encode, method
from mqproof.dissectors.amqp.tables import FRAME_MIN_SIZE
from mqproof.harness.verdicts import Unsupported, Untested, check
from mqproof.harness.wires.amqp import CAPABILITIES
from mqproof.harness.wires.amqp_message import tell
from mqproof.harness.wires.base import Ended
from mqproof.suites.amqp.ahead import ahead


def offer(wire, limit):
    """Log in and return what the broker offers for a limit; 0 would set none."""
    wire.greet()
    wire.log_in()
    offered = wire.expect("connection.tune").arguments
    if not offered[limit]:
        raise Unsupported(f"the broker sets no {limit}")
    return offered


@pytest.mark.normative("amqp-0-9-1:connection.start/protocol-name")
@pytest.mark.parametrize("octets", [b"HTTP/1.1", b"AMQX\x00\x00\x09\x01", b"\x00" * 8])
def test_unknown_protocol_name_is_answered_by_a_header_and_the_end(wires, octets):
    wire = wires.raw()
    wire.send_octets(octets)
    assert isinstance(wire.next_frame(), ProtocolHeader)
    wire.must_end(silently=True)


@pytest.mark.normative("amqp-0-9-1:connection.start/server-support", "amqp-0-9-1:4.2.2/version-mismatch")
def test_unsupported_version_is_answered_by_a_supported_one_and_the_end(wires):
    wire = wires.raw()
    wire.send(ProtocolHeader(0, 0, 200, 0))
    answer = wire.next_frame()
    assert isinstance(answer, ProtocolHeader)
    assert (answer.major, answer.minor) <= (0, 200)
    wire.must_end(silently=True)


@pytest.mark.normative("amqp-0-9-1:4.2.2/version-mismatch")
def test_header_that_the_broker_names_is_one_that_it_speaks(wires):
    asking, trying = wires.raw(), wires.raw()
    asking.send(ProtocolHeader(0, 0, 200, 0))
    named = asking.next_frame()
    assert isinstance(named, ProtocolHeader)
    trying.send(named)
    trying.must_receive("connection.start", channel=0)


@pytest.mark.normative("amqp-0-9-1:2.3.3/header-first")
def test_protocol_header_is_answered_by_start(wires):
    wire = wires.raw()
    wire.send(ProtocolHeader())
    start = wire.must_receive("connection.start", channel=0).arguments
    assert (start["version_major"], start["version_minor"]) == (0, 9)


@pytest.mark.normative("amqp-0-9-1:connection.start.server-properties/required-fields")
@pytest.mark.parametrize("field", ["host", "product", "version", "platform", "information"])
def test_server_properties_name(wires, field):
    names = sorted(wires.raw().greet().arguments["server_properties"])
    check(field in names, expected=f"{field} among the server's properties", actual=", ".join(names))


@pytest.mark.normative("amqp-0-9-1:connection.start.locales/required-support")
def test_locale_en_us_is_offered(wires):
    start = wires.raw().greet().arguments
    assert b"en_US" in start["locales"].split()


@pytest.mark.normative("amqp-0-9-1:connection.start-ok.mechanism/validity")
@ahead
def test_mechanism_that_was_not_offered_ends_the_connection_without_a_word(wires):
    wire = wires.raw()
    wire.greet()
    wire.log_in(mechanism="MQPROOF", capabilities={})
    wire.must_end(silently=True)


@pytest.mark.normative("amqp-0-9-1:2.2.4/error-closes-socket")
@pytest.mark.parametrize("instead", ["connection.tune-ok", "connection.open", "channel.open"])
@ahead
def test_method_out_of_turn_before_tuning_ends_the_connection_without_a_word(wires, instead):
    wire = wires.raw()
    wire.greet()
    wire.send(instead, channel=int(instead == "channel.open"))
    wire.must_end(silently=True)


@pytest.mark.normative("amqp-0-9-1:2.3.3/proposes-limits")
def test_login_is_answered_by_the_limits_that_the_broker_proposes(wires):
    wire = wires.raw()
    wire.greet()
    wire.log_in()
    limits = wire.must_receive("connection.tune", channel=0).arguments
    assert limits["frame_max"] == 0 or limits["frame_max"] >= FRAME_MIN_SIZE


@pytest.mark.normative("amqp-0-9-1:connection.tune.frame-max/minimum")
def test_offered_frame_size_is_at_least_the_minimum(wires):
    wire = wires.raw()
    assert offer(wire, "frame_max")["frame_max"] >= FRAME_MIN_SIZE


@pytest.mark.normative("amqp-0-9-1:connection.tune.frame-max/minimum")
def test_frame_of_the_minimum_size_is_accepted_before_tuning(wires):
    wire = wires.raw()
    wire.greet()
    login = {"mechanism": "PLAIN", "response": wire.login, "locale": "en_US"}
    properties = {"capabilities": CAPABILITIES, "padding": ""}
    bare = encode(method("connection.start-ok", 0, client_properties=properties, **login))
    properties["padding"] = "x" * (FRAME_MIN_SIZE - len(bare))
    wire.send("connection.start-ok", channel=0, client_properties=properties, **login)
    wire.must_receive("connection.tune", channel=0)


@pytest.mark.normative("amqp-0-9-1:connection.tune-ok.frame-max/minimum", "amqp-0-9-1:2.3.3/client-reduces-limits")
def test_client_may_tune_down_to_the_minimum_frame_size(wires):
    wire = wires.raw()
    offer(wire, "frame_max")
    wire.send("connection.tune-ok", channel=0, channel_max=10, frame_max=FRAME_MIN_SIZE, heartbeat=0)
    wire.send("connection.open", channel=0, virtual_host=wire.target.vhost)
    wire.must_receive("connection.open-ok", channel=0)


@pytest.mark.normative("amqp-0-9-1:connection.tune-ok.frame-max/minimum")
@ahead
def test_frame_size_below_the_minimum_is_not_agreed(wires):
    wire = wires.raw()
    offered = offer(wire, "frame_max")
    wire.send("connection.tune-ok", channel=0, **{**offered, "frame_max": FRAME_MIN_SIZE - 1})
    wire.send("connection.open", channel=0, virtual_host=wire.target.vhost)
    wire.must_disconnect(fenced=False)


@pytest.mark.normative("amqp-0-9-1:connection.tune-ok.frame-max/upper-limit")
@ahead
def test_frame_size_above_the_offer_ends_the_connection_without_a_word(wires):
    wire = wires.raw()
    offered = offer(wire, "frame_max")
    wire.send("connection.tune-ok", channel=0, **{**offered, "frame_max": offered["frame_max"] + 1})
    wire.send("connection.open", channel=0, virtual_host=wire.target.vhost)
    wire.must_end(silently=True)


@pytest.mark.normative("amqp-0-9-1:connection.tune-ok.channel-max/upper-limit")
@ahead
def test_channel_number_above_the_offer_ends_the_connection_without_a_word(wires):
    wire = wires.raw()
    offered = offer(wire, "channel_max")
    if offered["channel_max"] == 65535:
        raise Unsupported("the offered channel-max is the highest that can be written")
    wire.send("connection.tune-ok", channel=0, **{**offered, "channel_max": offered["channel_max"] + 1})
    wire.send("connection.open", channel=0, virtual_host=wire.target.vhost)
    wire.must_end(silently=True)


@pytest.mark.normative("amqp-0-9-1:2.3.3/client-reduces-limits")
def test_broker_accepts_every_channel_number_that_was_agreed(wires):
    wire = wires(channel_max=7)
    wire.send("channel.open", channel=7)
    wire.must_receive("channel.open-ok", channel=7)


@pytest.mark.normative("amqp-0-9-1:2.3.3/over-limit-disconnect", "amqp-0-9-1:2.3.3/client-reduces-limits")
def test_more_channels_than_agreed_end_the_connection(wires):
    """Too many, whether numbers or open channels are counted."""
    wire = wires(channel_max=3)
    for channel in (2, 3):
        wire.open_channel(channel)
    wire.send("channel.open", channel=4)
    wire.must_disconnect()


@pytest.mark.normative("amqp-0-9-1:2.3.3/over-limit-disconnect")
def test_channel_number_above_the_offered_range_ends_the_connection(wires):
    """Usable numbers are 1 to the channel-max of connection.tune; that of tune-ok counts channels, whatever numbers."""
    highest = offer(wires.raw(), "channel_max")["channel_max"]
    if highest == 65535:
        raise Untested("the broker permits every channel number")
    wire = wires(channel_max=highest)
    wire.send("channel.open", channel=highest + 1)
    wire.must_disconnect()


@pytest.mark.normative("amqp-0-9-1:connection.open.virtual-host/security")
@pytest.mark.parametrize("vhost", ["mqproof-no-such-vhost", "closed"])
@ahead
def test_virtual_host_that_the_user_may_not_use_is_refused(wires, vhost):
    """A refused open may be told by connection.close or by closing the socket (section 2.2.4)."""
    wire = wires.raw()
    wire.greet()
    wire.log_in()
    wire.tune()
    wire.send("connection.open", channel=0, virtual_host=vhost)
    wire.must_disconnect(fenced=False)


@pytest.mark.normative("amqp-0-9-1:connection.open.virtual-host/separation", "amqp-0-9-1:3.1.2/one-vhost")
def test_virtual_hosts_do_not_see_each_others_queues_and_exchanges(wires):
    here, there = wires(), wires.other_vhost()
    queue, exchange = here.queue(), here.exchange("fanout")
    here.bind(queue, exchange)
    there.exchange("fanout", name=exchange)
    there.publish(exchange)
    there.publish("", queue)
    assert here.drain(queue) == []
    there.send("queue.declare", queue=queue, passive=True)
    there.must_refuse(404, fenced=False)


@pytest.mark.slow
@pytest.mark.needs("authentication_failure_close")
@pytest.mark.normative("amqp-0-9-1:auth-failure-close/01")
@ahead
def test_wrong_password_is_told_to_a_client_that_wants_to_know(wires):
    wire = wires.raw(password="mqproof-wrong")
    wire.greet()
    wire.log_in(capabilities={"authentication_failure_close": True})
    wire.must_receive("connection.close", channel=0, reply_code=403)


@pytest.mark.slow
@pytest.mark.normative("amqp-0-9-1:2.2.4/error-closes-socket", "amqp-0-9-1:auth-failure-close/02")
@ahead
def test_wrong_password_ends_the_connection_of_any_other_client_without_a_word(wires):
    said = after_login(wires, password="mqproof-wrong")
    if is_let_in(said) and is_let_in(after_login(wires, user="mqproof-nobody", password="mqproof-wrong")):
        raise Untested("the broker lets in whoever comes: to it, no password is wrong")
    is_silent = isinstance(said, Ended) and said.closed
    check(is_silent, expected="the socket closed without a further frame", actual=tell_either(said))


def after_login(wires, **credentials):
    """Return what a client without capabilities is told when it has logged in."""
    wire = wires.raw(**credentials)
    wire.greet()
    wire.log_in(capabilities={})
    return wire.next_event()


def is_let_in(said):
    return not isinstance(said, Ended) and said.name == "connection.tune"


def tell_either(said):
    return str(said) if isinstance(said, Ended) else tell(said)


@pytest.mark.needs("server_capabilities")
@pytest.mark.normative("amqp-0-9-1:server-capabilities/01")
@pytest.mark.parametrize("name", ["publisher_confirms", "exchange_exchange_bindings", "basic.nack"])
def test_extension_that_the_broker_has_is_listed_in_its_properties(wire, names, name):
    """The three that have methods of their own: one that works must be listed."""
    attempts = {
        "publisher_confirms": ("confirm.select", {}),
        "exchange_exchange_bindings": ("exchange.bind", {"destination": "amq.fanout", "source": names("missing")}),
        "basic.nack": ("basic.nack", {"delivery_tag": 1}),
    }
    listed = wire.server_properties["capabilities"].get(name)
    method_name, arguments = attempts[name]
    wire.send(method_name, **arguments)
    wire.send("exchange.declare", exchange="amq.direct", type="direct", passive=True)
    reaction = wire.expect("exchange.declare-ok", "confirm.select-ok", "channel.close", "connection.close")
    assert bool(listed) == (reaction.name != "connection.close")
