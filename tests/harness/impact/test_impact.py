"""From a capture to what an upgrade means: the uses, their packets, and only the changes that touch them."""

import json
import random
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt.packets import Connect, Publish, Subscribe, Subscription, Will
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.packets.craft import fragments
from mqproof.dissectors.packets.pcap import Packet, read_packets, write_packets
from mqproof.harness.cli.main import app
from mqproof.harness.impact import Feature, Traffic, depended_on, faults, features_in, impact, rules
from mqproof.harness.impact_traffic import Said
from mqproof.harness.impact_uses import Uses
from mqproof.harness.run import Run
from mqproof.harness.statements.registry import load as registry
from mqproof.harness.statements.registry import statements
from typer.testing import CliRunner

CAPTURES = Path(__file__).parents[3] / "captures"
needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def matching(pattern: str) -> list[str]:
    return [key for key in registry() if fnmatchcase(key, pattern)]


def test_every_statement_that_can_be_tested_is_mapped_to_a_use_or_is_for_faulty_clients_only():
    patterns = [pattern for rule in rules() for pattern in rule.statements] + list(faults())
    covered = {key for pattern in patterns for key in matching(pattern)}
    testable = {statement.key for statement in statements() if statement.testable != "no"}
    assert testable - covered == set()
    assert [pattern for pattern in patterns if not matching(pattern)] == []


@needs_tshark
@pytest.mark.parametrize(
    ("capture", "shown", "name"),
    [
        ("mqtt-3.1.1", "mqtt.msgtype==3", "PUBLISH"),
        ("mqtt-5.0", "mqtt.msgtype==8", "SUBSCRIBE"),
        ("mqtt-vlan", "mqtt.msgtype==12", "PINGREQ"),
        ("mqtt-ipv6", "mqtt.msgtype==5", "PUBREC"),
        ("amqp-messages", "amqp.method.class==60 && amqp.method.method==40", "basic.publish"),
        ("amqp-messages", "amqp.method.class==50 && amqp.method.method==10", "queue.declare"),
    ],
)
def test_packets_are_those_that_wireshark_names(capture, shown, name):
    file = CAPTURES / f"{capture}.pcapng"
    ports = ["-d", "tcp.port==1024-32767,mqtt"] if capture.startswith("mqtt") else ["-d", "tcp.port==1024-32767,amqp"]
    command = ["tshark", "-r", str(file), *ports, "-Y", shown, "-T", "fields", "-e", "frame.number"]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    (features,) = features_in(Traffic(file)).values()
    assert theirs
    assert features[name].packets == [int(number) for number in dict.fromkeys(theirs)][:5]


def used(*frames: object, version: str = "", from_client: bool = True) -> dict[str, str]:
    uses, found = Uses(), {}
    for frame in frames:
        protocol = "mqtt" if version else "amqp"
        found |= dict(uses.of(Said(1, 1, protocol, from_client, frame, 9, version)))
    return found


def test_amqp_uses_are_told_from_arguments_flags_and_properties():
    arguments = {"x-queue-type": "quorum", "x-dead-letter-exchange": "dlx"}
    found = used(
        amqp.method("queue.declare", queue="q", durable=True, arguments=arguments),
        amqp.method("basic.qos", prefetch_count=5, global_=True),
        amqp.method("basic.publish", exchange="amq.topic", routing_key="a.b", mandatory=True),
        amqp.ContentHeader(1, 60, 7, {"delivery_mode": 2, "priority": 3, "headers": {"CC": ["x"]}}),
    )
    assert {
        "queue.declare durable", "queue.declare argument x-queue-type=quorum",
        "queue.declare argument x-dead-letter-exchange", "basic.qos global", "basic.qos prefetch-count",
        "basic.publish mandatory", "exchange type topic", "persistent message", "property priority", "header CC",
    } <= found.keys()  # fmt: skip


def test_an_exchange_of_somebody_else_may_be_of_any_type():
    found = used(amqp.method("basic.publish", exchange="orders"))
    assert "exchange type unknown" in found
    declared = amqp.method("exchange.declare", exchange="orders", type="headers")
    assert "exchange type unknown" not in used(declared, amqp.method("basic.publish", exchange="orders"))


def test_mqtt_uses_are_told_from_flags_and_properties():
    will = Will("gone", b"", 1, True, (("will_delay_interval", 5),))
    found = used(
        Connect("a-rather-long-client-identifier", False, 30, will, version=Version.V5_0),
        Publish("$weird/ä", b"", 2, True, packet_id=1, properties=(("topic_alias", 1),)),
        Subscribe(1, (Subscription("$share/g/+/x", 1, no_local=True), Subscription("#"))),
        version="mqtt-5.0",
    )
    assert {
        "kept session", "keep-alive", "retained will", "property will_delay_interval of the will", "long client id",
        "QoS 2 published", "retained message cleared", "property topic_alias from the client", "topic beyond ASCII",
        "topic with a dollar sign", "shared subscription", "no local", "several filters in SUBSCRIBE",
        "leading wildcard",
    } <= found.keys()  # fmt: skip


def test_what_may_be_confidential_is_named_and_not_shown():
    secret = "5ecret"
    found = used(
        Connect("c", user_name="me", password=secret.encode(), version=Version.V5_0,
                properties=(("authentication_method", "X"), ("authentication_data", secret.encode()))),
        version="mqtt-5.0",
    ) | used(
        amqp.method("connection.start-ok", 0, mechanism="PLAIN", response=f"\0me\0{secret}".encode()),
        amqp.ContentHeader(1, 60, 7, {"user_id": secret, "headers": {"token": secret}}),
    )  # fmt: skip
    assert secret not in json.dumps(found)


def row(identifier: str, verdict: str, spec: str = "mqtt-5.0") -> dict:
    return {"spec": spec, "id": identifier, "target": "t", "verdict": verdict, "tests": ["t"], "expected": None,
            "actual": None, "reason": "got | nothing"}  # fmt: skip


def run_of(version: str, **verdicts: str) -> Run:
    target = {"name": "t", "url": "mqtt://h:1", "protocol": "mqtt", "product": "P", "version": version,
              "capabilities": []}  # fmt: skip
    return Run(targets=[target], complete=True, statements=[row(*one) for one in verdicts.items()])


BEFORE = {
    "MQTT-4.3.3-11": "conforms", "MQTT-3.8.3-3": "conforms", "MQTT-3.12.4-1": "deviates", "MQTT-4.7.2-1": "conforms",
}  # fmt: skip
AFTER = {"MQTT-4.3.3-11": "deviates", "MQTT-3.8.3-3": "deviates", "MQTT-3.12.4-1": "conforms"}


def test_only_changes_of_what_is_used_are_shown():
    found = impact(CAPTURES / "mqtt-5.0.pcapng", [run_of("1", **BEFORE)], [run_of("2", **AFTER)])
    (worse,), (better,) = found.of("worse"), found.of("better")
    assert worse.change.id == "MQTT-4.3.3-11"  # PUBREL is answered: QoS 2 is used, from packet 60 on
    assert next(one for one in worse.features if one.name == "QoS 2 published").packets[0] == 60
    assert better.change.id == "MQTT-3.12.4-1"
    assert found.untouched == 2  # No Local and leading wildcards are not used
    assert (found.a, found.b) == ("P 1", "P 2")


def test_another_version_of_the_protocol_is_another_matter():
    found = impact(CAPTURES / "mqtt-3.1.1.pcapng", [run_of("1", **BEFORE)], [run_of("2", **AFTER)])
    assert (found.touched, found.judged) == ([], 0)


def test_a_rule_of_several_uses_needs_all_of_them():
    quorum = amqp.method("queue.declare", queue="q", arguments={"x-queue-type": "quorum"})
    both = [used(quorum), used(quorum, amqp.method("basic.qos", global_=True))]
    needed = [
        depended_on({"amqp-0-9-1": {name: Feature("amqp-0-9-1", name, 1, [1], [""]) for name in one}}) for one in both
    ]
    assert ["amqp-0-9-1:quorum-queue/04" in one for one in needed] == [False, True]


@pytest.fixture
def folders(tmp_path) -> list[str]:
    for name, verdicts in (("a", BEFORE), ("b", AFTER)):
        run_of(name, **verdicts).save(tmp_path / name)
    return ["--from", str(tmp_path / "a"), "--to", str(tmp_path / "b")]


def test_the_command_prints_and_writes(folders, tmp_path):
    arguments = ["impact", str(CAPTURES / "mqtt-5.0.pcapng"), *folders]
    shown = CliRunner().invoke(app, [*arguments, "--features", "--markdown", str(tmp_path / "out.md")])
    assert shown.exit_code == 1
    assert "MUST  mqtt-5.0:MQTT-4.3.3-11  conforms -> deviates" in shown.stdout
    assert "packets 60, 68" in shown.stdout
    text = (tmp_path / "out.md").read_text()
    assert "got \\| nothing" in text
    assert "QoS 2 published: packets 60, 68" in text
    data = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert data["touched"][0]["features"][0]["packets"]
    same = ["impact", arguments[1], "--from", folders[1], "--to", folders[1]]
    assert CliRunner().invoke(app, same).exit_code == 0


@pytest.mark.parametrize(
    ("octets", "code", "says"),
    [
        (b"no capture at all", 2, "is no pcap or pcapng file"),
        (b"", 2, "is empty"),
        (bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"), 5, "holds no AMQP or MQTT"),
    ],
)
def test_what_is_no_capture_is_one_line(folders, tmp_path, octets, code, says):
    (tmp_path / "x").write_bytes(octets)
    done = CliRunner().invoke(app, ["impact", str(tmp_path / "x"), *folders])
    assert (done.exit_code, done.stderr.count("\n")) == (code, 1)
    assert says in done.stderr


def test_octets_at_random_are_counted_and_never_a_traceback(tmp_path):
    whole = (CAPTURES / "amqp-messages.pcapng").read_bytes()
    for seed in range(60):
        octets, chance = bytearray(whole), random.Random(seed)
        for _ in range(20):
            octets[chance.randrange(200, len(octets))] ^= 0xFF
        (tmp_path / "x.pcapng").write_bytes(octets)
        traffic = Traffic(tmp_path / "x.pcapng")
        features_in(traffic)


@pytest.mark.parametrize("capture", ["mqtt-ipv6", "mqtt-5.0"])
def test_segments_in_fragments_tell_the_same(capture, tmp_path):
    packets = list(read_packets(CAPTURES / f"{capture}.pcapng"))
    pieces = [
        Packet(packet.time, piece, len(piece), 1)
        for number, packet in enumerate(packets)
        for piece in (fragments(packet.data, number, 40) if len(packet.data) > 100 else [packet.data])
    ]
    assert len(pieces) > len(packets)
    write_packets(tmp_path / "x.pcapng", pieces, 1)
    (whole,) = features_in(Traffic(CAPTURES / f"{capture}.pcapng")).values()
    (cut,) = features_in(Traffic(tmp_path / "x.pcapng")).values()
    assert {name: use.count for name, use in cut.items()} == {name: use.count for name, use in whole.items()}


def test_segments_out_of_order_tell_the_same():
    plain, swapped = (features_in(Traffic(CAPTURES / f"amqp-{name}.pcapng")) for name in ("messages", "swapped"))
    counts = [{name: one.count for name, one in found["amqp-0-9-1"].items()} for found in (plain, swapped)]
    assert counts[0] == counts[1]
