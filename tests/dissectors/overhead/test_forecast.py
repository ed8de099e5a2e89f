"""Forecasts: against captures of real brokers, against OpenSSL, and against sums done by hand."""

import contextlib
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.fields import Properties
from mqproof.dissectors.mqtt.packets import Connect, Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead import forecast as f
from mqproof.dissectors.overhead.forecast import Conditions, Cost, Traffic, Way, forecast
from mqproof.dissectors.packets.pcap import read_packets

CAPTURES = Path(__file__).parents[3] / "captures"
SIZES = (0, 16, 64, 256, 1024, 4096)
EACH = 4
LOOPBACK = Conditions(segment=65_483, consumer_tag=1, client_id=10)
RAW_OPENING = ((8, 517), (44, 20), (20 + 16, 13), (13, 16))  # captures/record.py says less of itself than pika
WAYS = {
    "mqtt-overhead-qos0": f.WAYS[0],
    "mqtt-overhead-qos1": f.WAYS[1],
    "mqtt-overhead-qos2": f.WAYS[2],
    "amqp-overhead-no-ack": f.WAYS[3],
    "amqp-overhead": f.WAYS[4],
}
DAILY = Traffic(((20, 1.0),), topic=10, rate=1 / 86_400)


@pytest.mark.parametrize("name", WAYS)
def test_a_forecast_is_within_two_percent_of_what_was_captured(name: str) -> None:
    way, given = WAYS[name], replace(LOOPBACK, amqp_opening=RAW_OPENING)
    flow = Traffic(tuple((size, 1 / len(SIZES)) for size in SIZES), topic=9, rate=1.0)
    cost = Cost()
    for size in SIZES:
        cost = cost + (f.publish(way, flow, given, size) + f.deliver(way, flow, given, size)) * EACH
    cost = cost + f.connection(way, [flow], given) * 2
    packets = list(read_packets(CAPTURES / f"{name}.pcapng"))
    assert cost.octets == pytest.approx(sum(len(packet.data) for packet in packets), rel=0.02)
    assert cost.packets == pytest.approx(len(packets), rel=0.06)


@pytest.mark.parametrize("topic", [1, 20, 120, 16_300])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize(
    "properties", [(), (("content_type", "text"),), (("topic_alias", 3), ("content_type", "t" * 200))]
)
def test_octets_of_a_publish_are_those_of_the_codec(topic: int, qos: int, properties: Properties) -> None:
    version = Version.V5_0 if properties else Version.V3_1_1
    aliased = any(name == "topic_alias" for name, _ in properties)
    name = "" if aliased else "t" * topic
    packet = Publish(name, b"x" * 50, qos, packet_id=7 if qos else None, properties=properties)
    own = sum(3 + len(str(value)) for name, value in properties if name == "content_type")
    flow = Traffic(((50, 1.0),), topic, 1.0, properties=own)
    given = Conditions(topic_alias=aliased, mqtt_5=bool(properties))
    assert f.mqtt_publish(flow, given, 50, qos) == len(mqtt.encode(packet, version))


def test_octets_of_amqp_frames_are_those_of_the_codec() -> None:
    content = amqp.content("basic.publish", body=b"x" * 50, exchange="ex", routing_key="key")
    assert sum(len(amqp.encode(frame)) for frame in content) == f.AMQP_PUBLISH + 5 + f.AMQP_HEADER + 8 + 50
    deliver = amqp.method("basic.deliver", consumer_tag="tag", exchange="ex", routing_key="key")
    assert len(amqp.encode(deliver)) == f.AMQP_DELIVER + 3 + 5
    assert len(amqp.encode(amqp.method("basic.ack"))) == f.AMQP_ACK
    assert f._bodies(300_000) == 300_000 + 3 * 8


def test_a_connect_is_as_long_as_the_codec_makes_it() -> None:
    connect = Connect("c" * 23, user_name="user", password=b"secret", version=Version.V3_1_1)
    way = f.WAYS[0]
    with_login = f.connection(way, [], Conditions(login=10)).octets
    assert with_login - f.connection(way, [], Conditions()).octets == 14
    assert len(mqtt.encode(connect, Version.V3_1_1)) == 2 + 10 + 2 + 23 + 4 + 10


def row(name: str, flow: Traffic, given: Conditions) -> f.Row:
    return next(row for row in forecast([flow], given) if row.name == name)


def test_an_idle_mqtt_device_pings_as_often_as_its_keep_alive_says() -> None:
    flow = replace(DAILY, rate=1e-12)
    day = row("MQTT QoS 0", flow, Conditions(keep_alive=60)).day
    ping = 66 + 2 + 66 + 2 + 66
    assert day.octets == pytest.approx(1440 * ping, rel=1e-6)
    assert row("MQTT QoS 0", flow, Conditions(keep_alive=0)).day.octets == pytest.approx(0, abs=0.01)


def test_messages_replace_pings() -> None:
    flow = replace(DAILY, rate=1 / 45)
    assert row("MQTT QoS 0", flow, Conditions(keep_alive=60)).day.packets == pytest.approx(2 * 86_400 / 45)
    slower = replace(DAILY, rate=1 / 150)
    assert row("MQTT QoS 0", slower, Conditions(keep_alive=60)).day.packets == pytest.approx((2 + 2 * 3) * 86_400 / 150)


def test_topic_aliases_save_the_topic_and_send_it_once_per_connection() -> None:
    flow = replace(DAILY, topic=100, rate=1.0)
    plain = row("MQTT QoS 0", flow, Conditions(mqtt_5=True)).message.octets
    assert plain - row("MQTT QoS 0", flow, Conditions(topic_alias=True)).message.octets == 100 - 3
    with_alias = f.connection(f.WAYS[0], [flow], Conditions(topic_alias=True)).octets
    assert with_alias - f.connection(f.WAYS[0], [flow], Conditions(mqtt_5=True)).octets == 100


def test_resumed_handshakes_cost_less_than_full_ones() -> None:
    for version in ("1.2", "1.3"):
        given = Conditions(tls=version, reconnects_per_day=10)
        full, resumed = (row("MQTT QoS 1", DAILY, replace(given, resumed=share)).day.octets for share in (0, 1))
        assert full - resumed > 10 * f.CERTIFICATES / 2


def test_operators_count_from_the_ip_layer_add_per_packet_and_round_up_per_device() -> None:
    given = Conditions(devices=3, keep_alive=0)
    day = row("MQTT QoS 0", DAILY, given).day
    ip = (day.octets - day.packets * 14) * f.MONTH
    assert row("MQTT QoS 0", DAILY, given).billed_month == 3 * (-(-ip // 1))
    extra = row("MQTT QoS 0", DAILY, replace(given, extra_per_packet=50)).billed_month
    assert extra == pytest.approx(3 * (ip + 50 * day.packets * f.MONTH), abs=3)
    rounded = row("MQTT QoS 0", DAILY, replace(given, round_up=1024, periods_per_month=30)).billed_month
    assert rounded == 3 * 30 * 1024


def test_large_messages_take_several_packets_records_and_acknowledgements() -> None:
    flow = Traffic(((100_000, 1.0),), 10, 1.0)
    one = row("MQTT QoS 0", flow, Conditions(keep_alive=0)).message
    assert one.packets == -(-(100_000 + 16) // 1448) + 1 + 69 // 2
    secure = row("MQTT QoS 0", flow, Conditions(keep_alive=0, tls="1.3")).message
    assert 7 * 22 <= secure.octets - one.octets <= 7 * 22 + 2 * 66


def test_messages_that_come_too_fast_are_said_to_be_an_upper_bound() -> None:
    assert [r.cramped for r in forecast([replace(DAILY, rate=100.0)], Conditions())] == [True] * 6 + [False]
    assert not any(r.cramped for r in forecast([DAILY], Conditions()))


def test_a_mixed_workload_as_given_lies_between_its_parts() -> None:
    flows = [replace(DAILY, rate=1.0), replace(DAILY, rate=1.0, qos=2)]
    given = [*f.WAYS[:3], Way("as given", "mqtt")]
    qos0, _, qos2, mixed = (r.day.octets for r in forecast(flows, Conditions(), given))
    assert mixed == pytest.approx((qos0 + qos2) / 2)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls_handshakes_and_records_are_as_long_as_openssl_makes_them(tmp_path: Path, version: str) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=broker.example.org -keyout"
    subprocess.run([*command.split(), key, "-out", certificate], check=True, capture_output=True)
    size = len(ssl.PEM_cert_to_DER_cert(certificate.read_text()))
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client.load_verify_locations(certificate)
    client.minimum_version = client.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    full, session, record = handshake(client, server, None)
    resumed, _, _ = handshake(client, server, session)
    assert record == f.TLS_RECORD[version]
    assert full == pytest.approx(sum(map(sum, f.TLS_FULL[version])) + size, rel=0.03)
    assert resumed == pytest.approx(sum(map(sum, f.TLS_RESUMED[version])), rel=0.03)


def handshake(
    client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[int, ssl.SSLSession | None, int]:
    """Return the octets of a handshake in memory, both ways; its session; and what a record adds to eleven octets."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        (client.wrap_bio(back, up, server_hostname="broker.example.org", session=session), up, there),
        (server.wrap_bio(there, down, server_side=True), down, back),
    ]
    octets = 0
    for end, out, into in ends * 4:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
        octets += out.pending
        into.write(out.read())
    (near, _, _), (far, _, _) = ends
    far.write(b"eleven more")
    record = down.pending - 11
    back.write(down.read())
    assert near.read(20) == b"eleven more"
    assert near.session_reused == (session is not None)
    return octets, near.session, record
