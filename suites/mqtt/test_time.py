"""What the text says about time, measured: keep-alive (3.1.2.10), message expiry (3.3.2.3.3), session expiry and will
delay (3.1.2.11.2, 3.1.3.2.2).

Bounds are the text's; beside them stands how much later than the text a server may be, for it has other things to do.
Where we were late ourselves, nobody is accused.
"""

import math
import time

import pytest
from mqproof.dissectors.mqtt.packets import Will
from mqproof.harness.patience import patience
from mqproof.harness.verdicts import Blocked, Late
from mqproof.harness.wires.mqtt_packets import PUBCOMP, PUBLISH, PUBREC, PUBREL
from mqproof.suites.mqtt.ahead import ahead

pytestmark = pytest.mark.slow
EARLY = 0.1  # seconds: the server's clock began before ours
LATE = 2.0  # seconds, before patience
SWEEP = 7.0  # the same where more costs nothing: some servers look for silent clients every 5 seconds
PATIENT = (LATE, SWEEP)  # what should be over by then is tried again with more time before it accuses


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-24", "mqtt-5.0:MQTT-3.1.2-22", "mqtt-5.0:MQTT-3.2.2-22")
@pytest.mark.parametrize("keep_alive", [1, 2, 6])  # 6: three of them are later than any sweep
@ahead
def test_silent_client_is_dropped_after_one_and_a_half_keep_alives(wires, keep_alive):
    """Not before one keep-alive has passed: such a client is still within its right."""
    wire = wires(keep_alive=keep_alive)
    keep_alive = dict(wire.connack.properties).get("server_keep_alive", keep_alive)
    began = time.monotonic()
    ended = wire.messages(seconds=1.5 * keep_alive / patience.factor + SWEEP)[1]
    wire.note(f"measured: {time.monotonic() - began:.2f} s for a keep-alive of {keep_alive} s")
    assert getattr(ended, "closed", False), f"still open {time.monotonic() - began:.2f} s after the last packet"
    assert time.monotonic() - began >= keep_alive - EARLY


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-24", "mqtt-5.0:MQTT-3.1.2-22", "mqtt-5.0:MQTT-3.2.2-22")
@pytest.mark.parametrize("said", ["PINGREQ", "PUBLISH"])
@ahead
def test_client_that_speaks_in_time_is_not_dropped(wires, said):
    wire, topic = wires(keep_alive=2), wires.names("topic")
    for _ in range(3):
        began = time.monotonic()
        wire.quiet(1.3 / patience.factor)
        wire.send(b"\xc0\0") if said == "PINGREQ" else wire.publish(topic)
        in_time(began, 2)
    wire.must_stay()


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-24", "mqtt-5.0:MQTT-3.1.2-22")
@ahead
def test_keep_alive_of_0_drops_nobody(wires):
    wire = wires(keep_alive=0)
    wire.quiet(3.5 / patience.factor)
    wire.must_stay()


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-8", "mqtt-3.1.1:MQTT-3.1.2-24", "mqtt-5.0:MQTT-3.1.2-8")
@ahead
def test_will_is_published_when_keep_alive_ends_the_connection(wires):
    topic, subscriber = wires.names("topic"), wires()
    subscriber.subscribe(topic, qos=1)
    wires(keep_alive=1, will=Will(topic, b"gone", 1))
    assert [p.payload for p in subscriber.must_get(1, within=1.5 / patience.factor + SWEEP)] == [b"gone"]


@pytest.mark.normative("mqtt-5.0:MQTT-4.1.0-2")
@ahead
def test_session_ends_when_its_expiry_interval_has_passed(wires):
    for late in PATIENT:
        client_id, clock = wires.names.client_id(), wires()
        wires(client_id, clean_start=False, properties={"session_expiry_interval": 1}).disconnect()
        clock.quiet((1 + late) / patience.factor)
        present = wires(client_id, keep=True).connack.session_present
        if not present:
            break
    assert present is False


@pytest.mark.normative("mqtt-5.0:MQTT-4.1.0-2", "mqtt-5.0:MQTT-3.1.2-23")
@ahead
def test_session_lasts_until_its_expiry_interval_has_passed(wires):
    client_id, clock = wires.names.client_id(), wires()
    wire = wires(client_id, clean_start=False, properties={"session_expiry_interval": 5})
    began = time.monotonic()
    wire.disconnect()
    clock.quiet(2 / patience.factor)
    again = wires(client_id, keep=True)
    in_time(began, 5)
    assert again.connack.session_present is True


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-5")
@pytest.mark.parametrize("qos", [1, 2])
@ahead
def test_expired_message_is_not_delivered(wires, qos):
    client_id, topic, publisher = wires.names.client_id(), wires.names("topic"), wires()
    subscriber = wires(client_id, keep=True)
    subscriber.subscribe(topic, qos=qos)
    subscriber.disconnect()
    publisher.deliver(topic, b"stale", qos=qos, properties={"message_expiry_interval": 1})
    publisher.deliver(topic, b"fresh", qos=qos, properties={"message_expiry_interval": 100})
    publisher.quiet((1 + LATE) / patience.factor)
    publisher.deliver(topic, b"fence", qos=qos)
    again = wires(client_id, keep=True)
    assert [p.payload for p in again.until(b"fence")] == [b"fresh", b"fence"]


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-6")
@ahead
def test_message_expiry_interval_is_reduced_by_the_time_of_waiting(wires):
    client_id, topic, publisher = wires.names.client_id(), wires.names("topic"), wires()
    subscriber = wires(client_id, keep=True)
    subscriber.subscribe(topic, qos=1)
    subscriber.disconnect()
    began = time.monotonic()
    publisher.deliver(topic, b"waits", qos=1, properties={"message_expiry_interval": 100})
    publisher.quiet(2.2 / patience.factor)
    left = dict(wires(client_id, keep=True).must_get(1)[0].properties).get("message_expiry_interval")
    least = 100 - math.ceil(time.monotonic() - began) - 1  # whole seconds, rounded either way
    assert left in range(least, 99)


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-5")
@pytest.mark.needs("retain")
@ahead
def test_expired_retained_message_is_not_delivered(wires):
    publisher, subscriber = wires(), wires()
    for late in PATIENT:
        topic = wires.names("topic")
        publisher.deliver(topic, b"stale", qos=1, retain=True, properties={"message_expiry_interval": 1})
        publisher.quiet((1 + late) / patience.factor)
        subscriber.subscribe(topic, qos=1)
        got = subscriber.settle(publisher)
        if not got:
            break
    assert got == []


@pytest.mark.normative("mqtt-5.0:MQTT-4.3.3-7")
@ahead
def test_qos_2_exchange_that_has_begun_is_completed_after_its_expiry(wires):
    """The message was sent before it expired: it comes again on resumption."""
    client_id, topic, publisher = wires.names.client_id(), wires.names("topic"), wires()
    subscriber = wires(client_id, keep=True)
    subscriber.subscribe(topic, qos=2)
    publisher.deliver(topic, b"begun", qos=2, properties={"message_expiry_interval": 1})
    number = subscriber.expect(PUBLISH, payload=b"begun").packet_id
    subscriber.cut()
    publisher.quiet((1 + LATE) / patience.factor)
    again = wires(client_id, keep=True)
    if not again.connack.session_present:
        raise Blocked("the session was not kept: that is examined elsewhere")
    got = again.must_get(1)[0]
    assert (got.payload, got.packet_id) == (b"begun", number)


@pytest.mark.normative("mqtt-5.0:MQTT-4.3.3-13")
@ahead
def test_publisher_may_finish_an_exchange_whose_message_has_expired(wires):
    """The receiver of a message is the server here: it has answered PUBREC, and answers PUBREL, too."""
    topic, publisher = wires.names("topic"), wires()
    number = publisher.publish(topic, b"brief", qos=2, properties={"message_expiry_interval": 1})
    publisher.expect(PUBREC, packet_id=number)
    publisher.quiet((1 + LATE) / patience.factor)
    publisher.send(PUBREL, packet_id=number)
    publisher.must_receive(PUBCOMP, packet_id=number)


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-8")
@ahead
def test_will_is_published_after_its_delay_and_not_before(wires):
    topic, subscriber = wires.names("topic"), wires()
    subscriber.subscribe(topic, qos=1)
    will = Will(topic, b"gone", 1, properties=(("will_delay_interval", 1),))
    dying = wires(keep=True, will=will)
    began = time.monotonic()
    dying.cut()
    got = subscriber.must_get(1, within=1 / patience.factor + SWEEP)
    passed = time.monotonic() - began
    subscriber.note(f"measured: {passed:.2f} s for a delay of 1 s")
    assert [p.payload for p in got] == [b"gone"]
    assert passed >= 1 - EARLY


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.3-9")
@ahead
def test_will_is_not_published_when_the_session_resumes_within_its_delay(wires):
    topic, client_id, subscriber = wires.names("topic"), wires.names.client_id(), wires()
    subscriber.subscribe(topic, qos=1)
    will = Will(topic, b"gone", 1, properties=(("will_delay_interval", 1),))
    dying = wires(client_id, keep=True, will=will)
    began = time.monotonic()
    dying.cut()
    wires(client_id, keep=True)
    in_time(began, 1)
    assert subscriber.quiet((1 + LATE) / patience.factor) == []


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-8")
@ahead
def test_will_is_published_when_the_session_expires_before_its_delay(wires):
    topic, subscriber = wires.names("topic"), wires()
    subscriber.subscribe(topic, qos=1)
    will = Will(topic, b"gone", 1, properties=(("will_delay_interval", 60),))
    wires(clean_start=True, properties={"session_expiry_interval": 1}, will=will).cut()
    assert [p.payload for p in subscriber.must_get(1, within=1 / patience.factor + SWEEP)] == [b"gone"]


def in_time(began, seconds):
    """Raise Late where we did not do within ``seconds`` what had to be done by then: the machine is busy."""
    passed = time.monotonic() - began
    if passed >= seconds:
        raise Late(f"we were late ourselves: {passed:.2f} s where {seconds} s were the limit")
