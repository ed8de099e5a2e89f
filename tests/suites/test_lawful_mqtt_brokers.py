"""Reactions that the text of MQTT permits, and that no broker of ours shows, are no deviations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from mqproof.dissectors.mqtt.codec import Malformed, Publish, Unsuback, encode_binary
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.patience import patience
from mqproof.harness.plugin.fixtures import Cleanup
from mqproof.harness.probing.limits import ProbeNames
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.reference.mqtt.delivery import Outbox
from mqproof.harness.reference.mqtt.limits import Limits
from mqproof.harness.reference.mqtt.server import start_in_thread
from mqproof.harness.saboteur.core import MqttConn, MqttFault, passage_for
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Deviation, Untested
from mqproof.suites.mqtt import test_2_3_packet_ids as packet_ids
from mqproof.suites.mqtt import test_3_3_delivery as delivery
from mqproof.suites.mqtt import test_3_3_properties as properties
from mqproof.suites.mqtt import test_3_8_subscribe as subscribing
from mqproof.suites.mqtt import test_3_10_unsubscribe as unsubscribing
from mqproof.suites.mqtt import test_4_3_qos as qos_flows
from mqproof.suites.mqtt import test_4_4_redelivery as redelivery
from mqproof.suites.mqtt import test_4_9_flow_control as flow_control
from mqproof.suites.mqtt.conftest import Wires

V5 = Version.V5_0
MakeWires = Callable[..., Any]


@contextmanager
def wires_to(fault: MqttFault | None = None, version: Version = V5, **broker: Any) -> Iterator[Wires]:
    """Give what makes connections to a reference broker, in front of which ``fault`` stands."""
    handle, cleanup = start_in_thread(**broker), Cleanup()
    try:
        behind = Target("t", "mqtt", "127.0.0.1", handle.port)
        with ProxyLoop() as loop:
            target = behind if fault is None else loop.proxy(behind, passage_for(fault)).target
            yield Wires(target, version, ProbeNames(), cleanup, [])
            cleanup.run()
    finally:
        handle.stop()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "factor", 0.3)


@pytest.fixture
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends the next message when the last one is acknowledged (3.1.1 section 4.6, 5.0 section 4.9)."""
    begin = Outbox.begin
    monkeypatch.setattr(Outbox, "begin", lambda self, receive_maximum: begin(self, 1))


@pytest.mark.usefixtures("_one_at_a_time")
@pytest.mark.parametrize("version", [Version.V3_1_1, V5])
def test_server_may_have_one_message_in_flight_at_a_time(version: Version) -> None:
    with wires_to(version=version) as wires:
        new = wires.names
        with pytest.raises(Untested):
            qos_flows.test_unacknowledged_messages_have_different_ids(wires, new("topic"), 1)
        with pytest.raises(Untested):
            qos_flows.test_id_stays_in_use_until_pubcomp(wires, new("topic"))
        with pytest.raises(Untested, match="at a time"):
            packet_ids.test_packet_ids_begin_anew_after_65535_and_spare_one_in_use(wires, new("topic"))
        redelivery.test_messages_come_again_in_their_order_and_before_later_ones(wires, new("topic"), "client", 1)


@pytest.mark.usefixtures("_one_at_a_time")
def test_server_may_begin_with_less_than_the_clients_receive_maximum() -> None:
    with wires_to() as wires:
        new = wires.names
        conversation(flow_control.test_server_keeps_within_the_clients_receive_maximum)(wires, new("topic"), 1, 3)
        conversation(flow_control.test_each_acknowledgement_lets_one_more_message_through)(wires, new("topic"), 2)
        redelivery.test_message_is_not_sent_again_while_the_connection_lasts(wires, new("topic"))


@pytest.mark.parametrize("most", [1, 4])
def test_we_keep_within_the_servers_receive_maximum(most: int) -> None:
    with wires_to(limits=Limits(receive_maximum=most)) as wires:
        for qos in (1, 2):
            delivery.test_messages_of_one_publisher_topic_and_qos_keep_their_order(wires, wires.names("topic"), qos)
            delivery.test_acknowledgements_come_in_the_order_of_the_messages(wires(), wires.names("topic"), qos)
        subscribing.test_replacing_a_subscription_loses_no_message(wires, wires.names("topic"))


class Codes(MqttFault):
    """Changes the codes of UNSUBACK."""

    def __init__(self, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> None:
        super().__init__()
        self.change = change

    def from_broker(self, packet: Any, conn: MqttConn) -> list[Any] | None:
        """Change the codes."""
        if not isinstance(packet, Unsuback):
            return None
        return [replace(packet, reason_codes=self.change(packet.reason_codes))]


def test_unsuback_need_not_say_whether_there_was_a_subscription() -> None:
    with wires_to(Codes(lambda codes: (0,) * len(codes))) as wires, pytest.raises(Untested):
        unsubscribing.test_codes_of_unsuback_follow_the_order_of_the_filters(wires(), wires.names("topic"))


def test_unsuback_that_says_it_of_another_filter_deviates() -> None:
    with wires_to(Codes(lambda codes: codes[::-1])) as wires, pytest.raises(Deviation):
        unsubscribing.test_codes_of_unsuback_follow_the_order_of_the_filters(wires(), wires.names("topic"))


def conversation(test: Any) -> Callable[..., None]:
    """Return the test itself of one that runs ahead."""
    found: Callable[..., None] = test.conversation
    return found


class Passes(MqttFault):
    """Lets a message pass whose Response Topic is no UTF-8: as it came, or mended."""

    def __init__(self, response_topic: bytes) -> None:
        super().__init__()
        self.response_topic = response_topic

    def malformed_from_client(self, error: Malformed, rest: bytes, conn: MqttConn) -> bytes:
        """Hand on the topic and the payload alone."""
        size = 2 + int.from_bytes(rest[2:4])
        return bytes([0x32, size + 7]) + rest[2 : 2 + size] + b"\0\5\0body"

    def from_broker(self, packet: Any, conn: MqttConn) -> list[Any] | None:
        """Give the message its property back."""
        if not isinstance(packet, Publish) or packet.payload != b"body":
            return None
        size = 4 + 2 + len(packet.topic)
        given = b"\x08" + encode_binary(self.response_topic)
        return [bytes([0x32, size + len(given) + 3]) + conn.raw[2:size] + bytes([len(given)]) + given + b"body"]


def test_server_may_mend_a_string_that_is_no_utf8() -> None:
    with wires_to(Passes("\ufffd".encode())) as wires:
        topic = wires.names("topic")
        conversation(properties.test_response_topic_that_is_no_utf8_is_not_sent_on)(wires, topic, b"\xff")


@pytest.mark.parametrize("text", [b"\xff", b"a\0b"])
def test_string_that_is_no_utf8_is_accused_where_it_is_sent_on(text: bytes) -> None:
    with wires_to(Passes(text)) as wires, pytest.raises(Deviation):
        conversation(properties.test_response_topic_that_is_no_utf8_is_not_sent_on)(wires, wires.names("topic"), text)
