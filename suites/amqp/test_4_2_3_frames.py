"""AMQP 0-9-1 sections 4.2.3 and 4.2.7: the frame format, frame sizes, heartbeat frames."""

import time

import pytest
from mqproof.dissectors.amqp.codec import Body, Heartbeat, RawFrame, encode, method
from mqproof.dissectors.amqp.tables import FRAME_MIN_SIZE, FRAME_OVERHEAD, FrameType
from mqproof.harness.verdicts import Blocked, check
from mqproof.harness.wires.base import Ended
from mqproof.suites.amqp.ahead import ahead

QOS = encode(method("basic.qos", 1, prefetch_count=1))[7:-1]  # the payload of a legal method frame
SMALL = 2 * FRAME_MIN_SIZE  # octets; some versions take nothing smaller (test_connection_negotiation tells)


@pytest.mark.normative("amqp-0-9-1:4.2.3/frame-end")
@pytest.mark.parametrize("end", [0x00, 0xCF])
@ahead
def test_wrong_frame_end_ends_the_connection_without_a_word(wires, end):
    wire = wires()
    wire.send(RawFrame(FrameType.METHOD, 1, QOS, end=end))
    wire.must_end(silently=True, fenced=True)


@pytest.mark.normative("amqp-0-9-1:4.2.3/unknown-type")
@pytest.mark.parametrize("kind", [0, 5, 7, 9, 255])  # 4 and 8: the text gives both for heartbeats
@ahead
def test_unknown_frame_type_ends_the_connection_without_a_word(wires, kind):
    wire = wires()
    wire.send(RawFrame(kind, 1, QOS))
    wire.must_end(silently=True, fenced=True)


@pytest.mark.normative("amqp-0-9-1:4.2.3/oversized")
@pytest.mark.parametrize("surplus", [1, 4096])
def test_oversized_frame_is_refused_with_501(wires, surplus):
    wire = wires(frame_max=SMALL)
    queue = wire.queue()
    wire.send("basic.publish", routing_key=queue)
    body = b"x" * (SMALL - FRAME_OVERHEAD + surplus)
    wire.send(wire.header(len(body)), Body(1, body))
    wire.must_refuse(501)


@pytest.mark.normative("amqp-0-9-1:4.2.3/oversized")
def test_oversized_method_is_refused_with_501(wires):
    wire = wires(frame_max=SMALL)
    padding = {"padding": "x" * SMALL}
    wire.send("queue.declare", queue=wire.things.queue(remove=False), exclusive=True, arguments=padding)
    wire.must_refuse(501, fenced=False)


@pytest.mark.normative("amqp-0-9-1:4.2.3/oversized")
def test_frame_of_exactly_the_agreed_size_is_accepted(wires):
    wire = wires(frame_max=SMALL)
    queue = wire.queue()
    body = b"x" * (SMALL - FRAME_OVERHEAD)
    wire.send("basic.publish", routing_key=queue)
    wire.send(wire.header(len(body)), Body(1, body))
    wire.must_accept()
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:4.2.3/never-oversized", "amqp-0-9-1:2.3.3/client-reduces-limits")
@pytest.mark.parametrize("deliver", [False, True], ids=["get", "deliver"])
def test_broker_keeps_to_the_agreed_frame_size(wires, deliver):
    publisher, reader = wires(), wires(frame_max=SMALL)
    queue = publisher.queue(shared=True)
    publisher.publish("", queue, b"x" * 3 * SMALL)
    reader.send("basic.consume" if deliver else "basic.get", queue=queue, no_ack=True)
    sizes: list[int] = []
    while sum(sizes) < 3 * SMALL:
        frame = reader.next_frame()
        if isinstance(frame, Ended):
            raise Blocked(f"the message did not come whole: {frame}")
        if isinstance(frame, Body):
            sizes.append(len(frame.payload))
    assert max(sizes) + FRAME_OVERHEAD <= SMALL


@pytest.mark.normative("amqp-0-9-1:4.2.3/channel-zero")
@pytest.mark.parametrize("name", ["connection.open", "connection.tune-ok", "connection.close"])
def test_connection_method_on_another_channel_is_refused_with_503(wire, name):
    wire.send(name, channel=1)
    wire.must_refuse(503)


@pytest.mark.needs("heartbeat")
@pytest.mark.normative("amqp-0-9-1:4.2.3/channel-zero", "amqp-0-9-1:4.2.7/heartbeat-channel-zero")
@pytest.mark.parametrize("channel", [1, 9], ids=["open", "unopened"])
def test_heartbeat_on_another_channel_is_refused(wire, channel):
    wire.send(Heartbeat(channel))
    wire.must_refuse(501, 503)


@pytest.mark.needs("heartbeat")
@pytest.mark.normative("amqp-0-9-1:4.2.7/heartbeat-channel-zero")
def test_heartbeat_with_a_payload_is_refused_with_501(wire):
    wire.send(Heartbeat(0, b"payload"))
    wire.must_refuse(501)


@pytest.mark.normative("amqp-0-9-1:4.2.7/heartbeat-channel-zero")
def test_legal_heartbeat_is_accepted_at_any_time(wire):
    wire.send(Heartbeat())
    wire.must_accept()


@pytest.mark.normative("amqp-0-9-1:4.8.1/connection-exception")
@pytest.mark.parametrize("ids", [(60, 999), (777, 10), (0, 0)], ids=["method", "class", "zero"])
def test_unknown_method_ends_the_connection(wire, ids):
    """The text names no reply code for it."""
    payload = b"".join(number.to_bytes(2) for number in ids)
    wire.send(RawFrame(FrameType.METHOD, 1, payload))
    wire.must_disconnect()


@pytest.mark.normative("amqp-0-9-1:4.8.1/connection-exception")
def test_method_cut_short_ends_the_connection(wire):
    """What follows comes in the same write: a broker that reads on past the end of the frame always finds something."""
    fence = method("exchange.declare", 1, exchange="amq.direct", type="direct", passive=True)
    wire.send(RawFrame(FrameType.METHOD, 1, QOS[:-3]), fence)
    wire.must_disconnect(fenced=False)


@pytest.mark.normative("amqp-0-9-1:4.8.1/connection-exception")
def test_method_that_only_servers_send_ends_the_connection(wire):
    wire.send("queue.declare-ok", queue="x")
    wire.must_disconnect()


@pytest.mark.normative("amqp-0-9-1:4.8.1/connection-exception")
def test_second_open_of_the_virtual_host_ends_the_connection(wire):
    wire.send("connection.open", channel=0, virtual_host=wire.target.vhost)
    wire.must_disconnect()


@pytest.mark.needs("heartbeat")
@pytest.mark.normative("amqp-0-9-1:4.2.7/any-traffic-counts", "amqp-0-9-1:heartbeat/01")
@pytest.mark.slow
@ahead
def test_silent_client_is_dropped_after_two_intervals(wires):
    """Without a handshake, as the section says; the broker's own heartbeats may come until then."""
    began = time.monotonic()
    wire = wires(heartbeat=1)
    said = []
    while not isinstance(frame := wire.next_frame(began + 10), Ended):
        said.append(frame)
    seconds = time.monotonic() - began
    check(frame.closed, expected="the connection closed by the broker", actual=f"{frame}")
    check(seconds > 1.9, expected="it happens after 2 to 3 s of silence", actual=f"{seconds:.1f} s")
    check(all(isinstance(frame, Heartbeat) for frame in said), expected="no handshake", actual=said[-1:])


@pytest.mark.normative("amqp-0-9-1:4.2.7/any-traffic-counts")
@pytest.mark.slow
@ahead
def test_any_traffic_keeps_the_connection_alive(wires):
    """Each method stands in for a heartbeat."""
    wire = wires(heartbeat=1)
    wire.must_stay(4.0, every=0.5, saying=method("basic.qos", 1))


@pytest.mark.needs("heartbeat")
@pytest.mark.normative("amqp-0-9-1:heartbeat/01")
@pytest.mark.slow
@ahead
def test_broker_sends_heartbeats_to_an_idle_client(wires):
    wire = wires(heartbeat=1)
    heard = wire.listen(3.5, every=0.4, saying=Heartbeat())
    check(heard.count(Heartbeat()) >= 3, expected="a heartbeat in each second", actual=f"{len(heard)} in 3.5 s")
