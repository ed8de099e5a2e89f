"""A broker of MQTT is accused of the statement that it breaks, and of nothing that follows from it or stands beside it.

Each broker here is the reference broker with one habit, met on brokers that the suites had never seen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from mqproof.dissectors.mqtt.codec import Connack, Connect, Disconnect, Publish, Unsubscribe
from mqproof.dissectors.mqtt.tables import PacketType, Version
from mqproof.harness.patience import patience
from mqproof.harness.plugin.fixtures import Cleanup, Names
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.reference.mqtt.server import start_in_thread
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, passage_for
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Deviation, Unsupported
from mqproof.suites.mqtt import malformed
from mqproof.suites.mqtt import test_3_1_2_will as will
from mqproof.suites.mqtt import test_3_1_3_client_id as client_ids
from mqproof.suites.mqtt import test_3_3_retain as retain
from mqproof.suites.mqtt import test_3_3_topic_alias as topic_alias
from mqproof.suites.mqtt import test_3_14_disconnect as disconnecting
from mqproof.suites.mqtt import test_4_1_sessions as sessions
from mqproof.suites.mqtt import test_4_2_transport as transport
from mqproof.suites.mqtt import test_4_3_qos as qos
from mqproof.suites.mqtt import test_4_4_redelivery as redelivery
from mqproof.suites.mqtt import test_4_9_flow_control as flow_control
from mqproof.suites.mqtt.conftest import Wires

V4, V5 = "mqtt-3.1.1:MQTT-", "mqtt-5.0:MQTT-"
DUP = (f"{V4}3.3.1-1", f"{V5}3.3.1-1")
ORDER = (f"{V4}4.6.0-6", f"{V5}4.6.0-5")
AT_QOS = (f"{V4}3.8.4-6", f"{V5}3.8.4-8")
Change = Callable[[Any, MqttConn], MqttResult]


class Habit(MqttFault):
    """Changes what comes from the client, or from the broker."""

    def __init__(self, client: Change | None = None, broker: Change | None = None) -> None:
        super().__init__()
        self.client = client
        self.broker = broker

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        """Hand the packet on, changed or not."""
        return self.client(packet, conn) if self.client else None

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        """Hand the packet on, changed or not."""
        return self.broker(packet, conn) if self.broker else None


def names_for() -> Names:
    """Return what makes names that nobody else uses."""
    state: Any = SimpleNamespace(prefix="mqproof", worker="w", next_number=count().__next__)
    return Names(state)


@contextmanager
def wires_to(habit: MqttFault, version: Version = Version.V5_0, defects: tuple[str, ...] = ()) -> Iterator[Wires]:
    """Give what makes connections to a reference broker in front of which a habit stands."""
    handle, cleanup = start_in_thread(frozenset(defects)), Cleanup()
    try:
        with ProxyLoop() as loop:
            target = loop.proxy(Target("t", "mqtt", "127.0.0.1", handle.port), passage_for(habit)).target
            yield Wires(target, version, names_for(), cleanup, [])
            cleanup.run()
    finally:
        handle.stop()


def accused(test: Callable[..., None], *given: Any) -> tuple[str, ...] | None:
    """Return the statements that a test accuses a broker of."""
    with pytest.raises(Deviation) as caught:
        run(test, *given)
    return caught.value.statements


def run(test: Callable[..., None], *given: Any) -> None:
    """Hold a test's conversation, also where it runs ahead."""
    getattr(test, "conversation", test)(*given)


def refuses_keep_alive_0(packet: Any, conn: MqttConn) -> MqttResult:
    return conn.close() if isinstance(packet, Connect) and packet.keep_alive == 0 else None


@pytest.mark.parametrize("version", [Version.V3_1_1, Version.V5_0])
def test_server_that_takes_no_keep_alive_of_0_is_examined_all_the_same(version: Version) -> None:
    with wires_to(Habit(client=refuses_keep_alive_0), version) as wires:
        run(client_ids.test_identifier_of_letters_and_digits_is_accepted, wires, 23)


def test_message_that_comes_again_without_dup_breaks_nothing_but_dup() -> None:
    with wires_to(Habit(), defects=("resent-without-dup",)) as wires:
        test = redelivery.test_unacknowledged_message_comes_again_with_dup_and_its_id
        assert accused(test, wires, wires.names(), wires.names.client_id(), 1, "cut") == DUP


def test_messages_that_come_again_in_another_order_come_again() -> None:
    with wires_to(Habit(), defects=("resent-in-reverse",)) as wires:
        test = redelivery.test_messages_come_again_in_their_order_and_before_later_ones
        assert accused(test, wires, wires.names(), wires.names.client_id(), 1) == ORDER


def test_session_that_was_not_kept_owes_no_message_again() -> None:
    with wires_to(Habit(), defects=("session-forgotten",)) as wires, pytest.raises(Blocked, match="session"):
        run(redelivery.test_unacknowledged_pubrel_comes_again, wires, wires.names(), wires.names.client_id())


def test_server_of_5_0_may_keep_no_sessions_where_it_says_so() -> None:
    """Section 3.2.2.3.2: CONNACK names the Session Expiry Interval that the server uses instead."""

    def forgetful(packet: Any, conn: MqttConn) -> MqttResult:
        if not isinstance(packet, Connack):
            return None
        return [replace(packet, properties=(*packet.properties, ("session_expiry_interval", 0)))]

    with wires_to(Habit(broker=forgetful)) as wires, pytest.raises(Unsupported, match="keeps no sessions"):
        run(sessions.test_session_is_created_where_none_is_stored, wires, wires.names.client_id())


def raised(packet: Any, conn: MqttConn) -> MqttResult:
    """Every message is sent at the QoS of its subscription."""
    return [replace(packet, qos=2, packet_id=9)] if isinstance(packet, Publish) else None


@pytest.mark.parametrize("version", [Version.V3_1_1, Version.V5_0])
def test_message_at_a_higher_qos_was_published_and_retained(version: Version) -> None:
    with wires_to(Habit(broker=raised), version) as wires:
        assert accused(will.test_will_is_published_at_its_qos, wires, wires.names(), 1, 2) == AT_QOS
        assert accused(retain.test_retained_message_awaits_later_subscribers, wires, wires.names(), 1) == AT_QOS


def test_unsubscribe_that_is_not_answered_is_no_matter_of_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "factor", 0.1)

    def ignored(packet: Any, conn: MqttConn) -> MqttResult:
        return [] if isinstance(packet, Unsubscribe) else None

    with wires_to(Habit(client=ignored)) as wires, pytest.raises(Blocked, match="UNSUBACK"):
        run(transport.test_packets_may_be_cut_and_joined_by_the_transport, wires, wires.names(), 3)


def test_server_may_leave_it_to_the_client_to_close_after_disconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "factor", 0.1)

    def swallowed(packet: Any, conn: MqttConn) -> MqttResult:
        return [] if isinstance(packet, Disconnect) else None

    with wires_to(Habit(client=swallowed)) as wires:
        run(disconnecting.test_disconnect_with_a_code_that_clients_do_not_have_ends_the_connection, wires(), 0x8E)


def test_connection_that_is_closed_behind_octets_of_no_packet_is_closed() -> None:
    def garbled(packet: Any, conn: MqttConn) -> MqttResult:
        if not isinstance(packet, Disconnect):
            return None
        conn.to_client(b"\xe0\x01\x94\0\0")
        return conn.close()

    with wires_to(Habit(broker=garbled)) as wires:
        run(topic_alias.test_alias_0_ends_the_connection, wires(), wires.names())


def test_second_copy_counts_although_the_fence_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "factor", 0.1)

    def twice(packet: Any, conn: MqttConn) -> MqttResult:
        if not isinstance(packet, Publish):
            return None
        return [packet, replace(packet, packet_id=77)] if packet.payload == b"once" else []

    with wires_to(Habit(broker=twice)) as wires:
        accused(qos.test_publish_repeated_before_pubrel_is_delivered_once, wires, wires.names(), 1)


def test_no_malformed_subscription_gets_what_another_case_has_published() -> None:
    for version in Version.V3_1_1, Version.V5_0:
        for group in {*malformed.groups(version)} - {"cut", "shortened", "lengths"}:  # what is cut names nothing whole
            for case in malformed.cases(group, version, "topic"):
                is_subscribe = case.octets[0] >> 4 == PacketType.SUBSCRIBE and b"topic" in case.octets
                assert b"topic/apart" in case.octets if is_subscribe else b"apart" not in case.octets, case.name


def test_unsubscribe_from_nothing_that_is_not_answered_is_no_matter_of_the_window() -> None:
    def ignored(packet: Any, conn: MqttConn) -> MqttResult:
        return [] if isinstance(packet, Unsubscribe) and packet.filters[0].endswith("none") else None

    with wires_to(Habit(client=ignored)) as wires:
        run(flow_control.test_other_packets_are_handled_while_the_window_is_shut, wires, wires.names())
