"""How connections begin and end (sections 2.2.4, 2.3.7, 4.2.2)."""

import pytest
from mqproof.dissectors.amqp.codec import Heartbeat, ProtocolHeader, RawFrame, encode, method
from mqproof.dissectors.amqp.tables import PROTOCOL_HEADER
from mqproof.harness.reference.amqp.broker import Broker, Settings

LOGIN = {"mechanism": "PLAIN", "response": b"\0guest\0guest", "locale": "en_US"}


@pytest.fixture
def fresh(broker: Broker, connect):
    return type(connect())(broker)


@pytest.fixture
def started(fresh):
    fresh.raw(PROTOCOL_HEADER)
    fresh.expect("connection.start", version_major=0, version_minor=9)
    return fresh


@pytest.fixture
def tuning(started):
    started.send("connection.start-ok", 0, **LOGIN)
    started.expect("connection.tune", channel_max=2047, frame_max=131072, heartbeat=60)
    return started


@pytest.mark.parametrize(
    "header", [b"AMQP\0\0\x0a\0", b"AMQP\1\1\0\x0a", b"HTTP/1.1", b"GET / HTTP/1.1\r\n", b"\x10\x0e", b"x"]
)
def test_another_protocol_is_answered_with_our_header_and_the_end(fresh, header):
    fresh.raw(header)
    assert fresh.frames() == [ProtocolHeader(0, 0, 9, 1)]
    assert fresh.ended


def test_header_may_come_octet_by_octet(fresh):
    for octet in PROTOCOL_HEADER:
        fresh.expect_nothing()
        fresh.raw(bytes([octet]))
    fresh.expect("connection.start")


def test_start_names_what_the_rules_ask_for(fresh):
    fresh.raw(PROTOCOL_HEADER)
    start = fresh.expect("connection.start")
    properties = start["server_properties"]
    assert {"host", "product", "version", "platform", "information", "copyright", "capabilities"} <= properties.keys()
    assert properties["product"] == "mqproof reference broker"
    assert "in memory" in properties["information"]
    assert b"en_US" in bytes(start["locales"]).split()
    assert bytes(start["mechanisms"]).split() == [b"PLAIN", b"AMQPLAIN"]
    assert len(encode(method("connection.start", 0, **start))) <= 4096


def test_amqplain_logs_in(started):
    response = b"\5LOGINS\0\0\0\5guest\x08PASSWORDS\0\0\0\5guest"
    started.send("connection.start-ok", 0, mechanism="AMQPLAIN", response=response)
    started.expect("connection.tune")


@pytest.mark.parametrize(
    "arguments",
    [
        {"mechanism": "PLAIN", "response": b"\0guest\0wrong"},
        {"mechanism": "PLAIN", "response": b"\0nobody\0guest"},
        {"mechanism": "PLAIN", "response": b"guest"},
        {"mechanism": "PLAIN", "response": b"\xff\xfe"},
        {"mechanism": "AMQPLAIN", "response": b"\5LOGINS\0\0\0\5gue"},
        {"mechanism": "AMQPLAIN", "response": b""},
    ],
)
def test_refused_login_only_closes_the_socket_after_a_while(started, clock, arguments):
    started.send("connection.start-ok", 0, **arguments)
    started.send("connection.close", 0)
    clock.advance(Settings().login_delay - 0.01)
    assert not started.ended
    clock.advance(0.01)
    started.expect_nothing()
    assert started.ended


def test_refused_login_is_told_to_a_client_that_can_take_it(started):
    client = {"capabilities": {"authentication_failure_close": True}}
    started.send("connection.start-ok", 0, mechanism="PLAIN", response=b"\0guest\0no", client_properties=client)
    started.expect_closed(403, hard=True)


@pytest.mark.parametrize("mechanism", ["GSSAPI", "EXTERNAL", "", "plain"])
def test_unoffered_mechanism_gets_no_frame_even_with_the_capability(started, mechanism):
    client = {"capabilities": {"authentication_failure_close": True}}
    started.send("connection.start-ok", 0, mechanism=mechanism, response=b"", client_properties=client)
    started.expect_nothing()
    assert started.ended


@pytest.mark.parametrize(
    "limits", [{"channel_max": 2048}, {"frame_max": 131073}, {"frame_max": 4095}, {"frame_max": 1}]
)
def test_tune_ok_beyond_the_offer_is_cut_without_a_word(tuning, limits):
    tuning.send("connection.tune-ok", 0, **limits)
    tuning.send("connection.open", 0, virtual_host="/")
    tuning.expect_nothing()
    assert tuning.ended


@pytest.mark.parametrize(
    "limits", [{}, {"channel_max": 1, "frame_max": 4096}, {"channel_max": 2047, "frame_max": 131072}]
)
def test_tune_ok_may_lower_limits_or_leave_them(tuning, limits):
    tuning.send("connection.tune-ok", 0, **limits)
    tuning.call("connection.open", 0, virtual_host="/")
    assert tuning.connection.frame_max == (limits.get("frame_max") or 131072)


@pytest.mark.parametrize(("vhost", "code"), [("nowhere", 402), ("", 402), ("closed", 530)])
def test_refused_vhost_closes_with_a_handshake(tuning, vhost, code):
    tuning.send("connection.tune-ok", 0)
    tuning.send("connection.open", 0, virtual_host=vhost)
    tuning.expect_closed(code, hard=True)


@pytest.mark.parametrize(
    "frame",
    [
        method("connection.tune-ok", 0),
        method("connection.open", 0, virtual_host="/"),
        method("connection.secure-ok", 0),
        method("channel.open", 1),
        method("queue.declare", 1),
        RawFrame(1, 0, b"\0\x0a\0"),
        RawFrame(1, 0, b"\0\x0a\0\xff"),
        RawFrame(7, 0),
        RawFrame(2, 1, b""),
        RawFrame(3, 1, b""),
        Heartbeat(1),
        ProtocolHeader(),
    ],
)
def test_errors_before_open_only_close_the_socket(started, frame):
    started.raw(encode(frame))
    started.expect_nothing()
    assert started.ended


def test_vhosts_are_separate_worlds(connect):
    one, other = connect(), connect(vhost="other")
    one.queue("q")
    one.publish(b"here")
    other.send("queue.declare", queue="q", passive=True)
    other.expect_closed(404)
    assert one.drain() == [b"here"]


@pytest.mark.parametrize(
    "frame",
    [
        method("connection.open", 0, virtual_host="/"),
        method("connection.start-ok", 0, **LOGIN),
        method("connection.tune-ok", 0),
        method("connection.tune", 0),
    ],
)
def test_negotiation_out_of_order_is_503(peer, frame):
    peer.raw(encode(frame))
    peer.expect_closed(503, hard=True)


def test_close_is_answered_and_ends(peer):
    peer.send("connection.close", 0, reply_code=200)
    peer.expect("connection.close-ok")
    assert peer.ended


def test_close_is_understood_while_negotiating(tuning):
    tuning.send("connection.close", 0, reply_code=200)
    tuning.expect("connection.close-ok")
    assert tuning.ended


def test_everything_but_close_is_discarded_after_close(peer):
    peer.send("queue.declare-ok")
    peer.expect("connection.close", reply_code=503)
    peer.send("queue.declare", queue="late")
    peer.raw(encode(RawFrame(1, 0, b"\0\xff\0\xff")))  # malformed, and stepped over
    peer.publish(b"late")
    peer.expect_nothing()
    peer.send("connection.close", 0)
    peer.expect("connection.close-ok")  # crossing closes are both answered
    assert not peer.ended
    peer.send("connection.close-ok", 0)
    peer.expect_nothing()
    assert peer.ended


def test_no_close_ok_ends_after_a_while(peer, clock):
    peer.send("queue.declare-ok")
    peer.expect("connection.close", reply_code=503)
    clock.advance(Settings().close_timeout)
    assert peer.ended


def test_silent_peer_is_dropped_while_negotiating(started, clock):
    clock.advance(Settings().handshake_timeout - 0.1)
    assert not started.ended
    clock.advance(0.1)
    started.expect_nothing()
    assert started.ended


def test_heartbeats_come_each_half_interval_and_silence_ends_it(connect, clock):
    peer = connect(heartbeat=4)
    clock.advance(4)
    assert peer.frames() == [Heartbeat(), Heartbeat()]
    peer.raw(encode(Heartbeat()))
    clock.advance(7.9)
    assert not peer.ended
    assert peer.frames() == [Heartbeat()] * 3
    clock.advance(0.1)
    peer.expect_nothing()
    assert peer.ended


def test_any_octet_counts_as_a_heartbeat(connect, clock):
    peer = connect(heartbeat=4)
    for octet in encode(method("queue.declare", 1, queue="q")):
        clock.advance(7)
        peer.raw(bytes([octet]))
    assert not peer.ended


def test_without_heartbeat_silence_is_borne(peer, clock):
    clock.advance(100000)
    peer.expect_nothing()
    assert not peer.ended


@pytest.mark.parametrize(("secret", "accepted"), [(b"guest", True), (b"wrong", False)])
def test_update_secret_takes_the_right_one_only(peer, secret, accepted):
    peer.send("connection.update-secret", 0, new_secret=secret, reason="renewal")
    if accepted:
        peer.expect("connection.update-secret-ok")
    else:
        peer.expect_closed(530, hard=True)


def test_lost_socket_ends_the_connection_and_its_exclusive_queues(connect, broker):
    peer, other = connect(), connect()
    peer.queue("mine", exclusive=True)
    peer.connection.lost()
    other.send("queue.declare", queue="mine", passive=True)
    other.expect_closed(404)
    assert list(broker.connections) == [other.connection]
