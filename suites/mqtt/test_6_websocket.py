"""Section 6: MQTT over WebSocket: the sub-protocol, frames that are cut and joined at will, and no text.

The broker is reached as its ``ws`` or ``wss`` URL says, or where the driver that started it has opened a listener.
"""

from typing import ClassVar

import pytest
from mqproof.dissectors.mqtt.codec import Subscription
from mqproof.harness.targets.websocket import BINARY, CONTINUATION, PING, TEXT
from mqproof.harness.verdicts import Untested
from mqproof.harness.wires.mqtt import MqttWire
from mqproof.harness.wires.mqtt_link import deadline
from mqproof.harness.wires.mqtt_packets import (
    CONNACK,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
)
from mqproof.harness.wires.websocket import WebConnection
from mqproof.suites.mqtt.octets import connect, publish
from mqproof.suites.mqtt.test_4_2_transport import CONVERSATION, conversation


class WebWire(MqttWire):
    """A raw MQTT connection over WebSocket, whose frames the test makes. ``socket``: the WebSocket."""

    protocols: ClassVar[tuple[str, ...]] = ("mqtt",)

    def _open(self, target):
        self.socket = WebConnection(target, protocols=self.protocols)
        return self.socket

    def send_frames(self, *frames):
        """Send frames: opcode, octets, and False where the message goes on in the next one."""
        for opcode, octets, *final in frames:
            self.transcript.add(">", octets, f"WebSocket frame of type {opcode}, {octets.hex(' ')}")
            self.socket.send_frame(opcode, octets, final=not final)


@pytest.fixture
def web(wires, target, transcripts, cleanup):
    """``web()``: a connection over WebSocket on which nothing has been said; ``web("a", "b")`` offers other protocols.

    Raises Untested where nobody knows of a WebSocket listener.
    """
    reached = target if target.path is not None else target.websocket
    if reached is None:
        raise Untested("no WebSocket listener is known: name its ws:// or wss:// URL as the target")

    def connected(*protocols):
        kind = type("Offering", (WebWire,), {"protocols": protocols}) if protocols else WebWire
        title = f"MQTT over WebSocket {len(transcripts) + 1}"
        wire = kind(reached.with_(capabilities=target.capabilities), wires.version, wires.belongings, title=title)
        transcripts.append(wire.transcript)
        cleanup(wire.leave)
        return wire

    return connected


@pytest.mark.normative("mqtt-3.1.1:MQTT-6.0.0-4", "mqtt-5.0:MQTT-6.0.0-4")
@pytest.mark.parametrize("offers", [["mqtt"], ["x-mqproof", "mqtt"]], ids=["alone", "second"])
def test_server_selects_the_subprotocol_mqtt(web, offers):
    assert web(*offers).socket.selected == "mqtt"


@pytest.mark.normative("mqtt-3.1.1:MQTT-6.0.0-2", "mqtt-5.0:MQTT-6.0.0-2")
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_packets_may_be_cut_and_joined_by_frames(web, topic, size):
    wire = web().connect()
    said = conversation(wire, topic.encode())
    wire.send_frames(*((BINARY, said[start : start + size]) for start in range(0, len(said), size)))
    for kind in CONVERSATION:
        wire.must_receive(kind)


@pytest.mark.normative("mqtt-3.1.1:MQTT-6.0.0-2", "mqtt-5.0:MQTT-6.0.0-2")
@pytest.mark.parametrize("size", [1, 7, 20])
def test_messages_may_come_in_fragments(web, topic, size):
    """One message of WebSocket in many frames, with a ping between them (RFC 6455 section 5.4)."""
    wire = web().connect()
    said = conversation(wire, topic.encode())
    pieces = [said[start : start + size] for start in range(0, len(said), size)]
    wire.send_frames((BINARY, pieces[0], False), *((CONTINUATION, piece, False) for piece in pieces[1:-1]))
    wire.send_frames((PING, b""), (CONTINUATION, pieces[-1]))
    for kind in CONVERSATION:
        wire.must_receive(kind)


@pytest.mark.normative("mqtt-3.1.1:MQTT-6.0.0-2", "mqtt-5.0:MQTT-6.0.0-2")
@pytest.mark.parametrize("size", [100, 126, 65_500, 65_536, 100_000])
def test_message_of_any_size_passes_in_one_frame(web, topic, size):
    subscriber, publisher = web().connect(), web().connect()
    subscriber.subscribe(topic, qos=1)
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    number = publisher.publish(topic, body, qos=1)
    publisher.must_receive(PUBACK, packet_id=number)
    assert subscriber.must_get(1)[0].payload == body


@pytest.mark.normative("mqtt-3.1.1:MQTT-6.0.0-1", "mqtt-5.0:MQTT-6.0.0-1")
def test_connect_in_a_text_frame_ends_the_connection(wires, web):
    wire = web()
    wire.send_frames((TEXT, connect(wire, wires.names.client_id().encode())))  # without a login it is valid UTF-8
    answer = wire.arrive(deadline())
    assert not isinstance(answer, CONNACK) or answer.reason_code
    wire.must_close(probe=False)


@pytest.mark.normative("mqtt-3.1.1:MQTT-6.0.0-1", "mqtt-5.0:MQTT-6.0.0-1")
def test_message_in_a_text_frame_ends_the_connection_and_reaches_nobody(web, topic):
    subscriber, publisher, other = web().connect(), web().connect(), web().connect()
    subscriber.subscribe(topic)
    publisher.send_frames((TEXT, publish(publisher, topic.encode(), b"in text")))
    publisher.must_close()
    assert subscriber.settle(other) == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-6.0.0-1", "mqtt-5.0:MQTT-6.0.0-1")
def test_server_sends_binary_frames_only(web, topic):
    """Any other frame ends the wire as malformed, so that what was to come does not."""
    wire = web()
    wire.send(wire.connect_packet())
    wire.must_receive(CONNACK, reason_code=0)
    wire.send(SUBSCRIBE(1, (Subscription(topic, 1),)), PUBLISH(topic, b"x", 1, packet_id=9), PINGREQ())
    for kind in (SUBACK, PUBACK, PUBLISH, PINGRESP):
        wire.must_receive(kind)
