"""From measurements to a recommendation: the rule, the sentences, the claims; and a whole verdict on brokers."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mqproof.dissectors.amqp.codec import content, encode
from mqproof.dissectors.mqtt.codec import encode as encode_mqtt
from mqproof.dissectors.mqtt.packets import Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import analyze
from mqproof.dissectors.packets.craft import CLIENT, Conversation, fragments
from mqproof.dissectors.packets.pcap import Packet, write_packets
from mqproof.harness import choose_measure
from mqproof.harness.choose import (
    PROOFS,
    Candidate,
    Measure,
    Need,
    choose,
    facts_of_load,
    month_of,
    needs_of,
    shown_measure,
    wanted,
)
from mqproof.harness.choose_claims import claims
from mqproof.harness.choose_measure import MESSAGES, _Marks, _phases, payloads_of, sample
from mqproof.harness.cli.main import app
from mqproof.harness.reporting.choose_page import Report, markdown, page
from mqproof.harness.run import Run
from mqproof.harness.statements.registry import load as registry
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.certificates import make_certificates
from mqproof.harness.targets.identify import identify
from mqproof.harness.workload import FEATURES, Flow, Workload, names, read
from typer.testing import CliRunner

FLOW = Flow("f", "a/{device}/b", 0.1, ((10, 0.5), (30, 0.5)), qos=1)
WORKLOAD = Workload("Test: a workload", (FLOW,), devices=100, needs=("topic-routing", "replay"))
COSTS = {
    "month_mb": 10.0, "p99_ms": 5.0, "throughput": 1000.0, "lost": 0.0, "memory_mb": 100.0, "paced_rate": 10.0,
    "lost_at_full_speed": 0.0,
}  # fmt: skip


def test_fragments_are_part_of_what_a_phase_costs(tmp_path: Path) -> None:
    """All their headers count, each is a packet, and the stream is what it would be without them."""
    talk = Conversation()
    whole = talk.say(CLIENT, bytes(1000))
    pieces = fragments(*talk.say(CLIENT, bytes(1000)), 7, 400)
    packets = [*whole, *pieces]
    write_packets(tmp_path / "x", [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
    (phase,) = _phases(tmp_path / "x", 40000, 0, _Marks([("all", 99)], {"all": (2, 900)}))
    assert (phase.packets, phase.stream) == (1 + 3, 2000)
    assert phase.octets == sum(len(data) - 14 for data in packets)


def candidate(name: str, protocol: str, needs: tuple[bool, ...] = (True,), **facts: float) -> Candidate:
    measures = {key: Measure(value, "", "test") for key, value in (COSTS | facts).items()}
    found = [Need(f"need{number}", met, "x:1 conforms") for number, met in enumerate(needs)]
    return Candidate(name, name.title(), "1", protocol, "", measures, found)


@pytest.mark.parametrize(
    ("a", "b", "chosen"),
    [
        ({"needs": (True, False)}, {"needs": (True, True), "month_mb": 99.0}, "b"),  # needs before costs
        ({"throughput": 5.0}, {"month_mb": 99.0, "p99_ms": 99.0}, "b"),  # the rate that is asked for before costs
        ({"lost": 1.0}, {"month_mb": 99.0, "p99_ms": 99.0}, "b"),
        ({"lost_at_full_speed": 9.0}, {}, "b"),  # what a flooded broker drops is a cost
        ({"month_mb": 5.0}, {}, "a"),
        ({"month_mb": 9.5}, {}, None),  # a twentieth is no difference
        ({"month_mb": 5.0}, {"p99_ms": 1.0}, None),  # one each
        ({}, {}, None),
    ],
)
def test_the_rule(a, b, chosen):
    found = choose("w", WORKLOAD, [candidate("a", "amqp", **a), candidate("b", "mqtt", **b)])
    assert found.recommended == chosen


def test_every_sentence_has_a_number_and_says_where_it_is_from():
    candidates = [candidate("a", "amqp", needs=(False,), month_mb=1.0), candidate("b", "mqtt")]
    sentences = choose("w", WORKLOAD, candidates).sentences
    assert sentences
    for sentence in sentences:
        assert re.search(r"\d", sentence.text), sentence
        for reference in sentence.refers:
            name, _, measure = reference.partition("/")
            one = next(one for one in candidates if one.name == name)
            assert measure == "needs" or one.value(measure) is not None, reference


def test_what_was_not_measured_tips_no_scale():
    a = candidate("a", "amqp", month_mb=1.0)
    a.facts["month_mb"] = Measure(None, "MB", "not permitted")
    assert choose("w", WORKLOAD, [a, candidate("b", "mqtt")]).recommended is None
    assert shown_measure(a.facts["month_mb"]) == "not measured (not permitted)"


def row(key: str, verdict: str, target: str = "t") -> dict:
    spec, _, identifier = key.partition(":")
    return {"spec": spec, "id": identifier, "target": target, "verdict": verdict, "tests": ["t"], "reason": "lost"}


def test_needs_are_met_by_verdicts_only():
    run = Run(statements=[row("amqp-0-9-1:3.1.3.3/words", "conforms"), row("amqp-0-9-1:stream-queue/03", "deviates")])
    amqp = {need.feature: need for need in needs_of(WORKLOAD, run, "t", "amqp")}
    assert [amqp[name].is_met for name in ("topic-routing", "replay")] == [True, False]
    assert amqp["replay"].proof == "amqp-0-9-1:stream-queue/03 deviates"
    assert not any(need.is_met for need in needs_of(WORKLOAD, run, "other", "amqp"))
    mqtt = {need.feature: need for need in needs_of(WORKLOAD, run, "t", "mqtt")}
    assert re.fullmatch(r"none of the \d+ statements of MQTT promises it", mqtt["replay"].proof)


def test_every_feature_has_its_proofs_and_they_exist():
    assert set(FEATURES) <= PROOFS.keys()
    assert {key for both in PROOFS.values() for keys in both.values() for key in keys} <= registry().keys()
    assert all(set(wanted(read(name))) <= PROOFS.keys() for name in names())


@pytest.mark.parametrize(
    ("rate", "keep_alive", "protocol", "pings"),
    [
        (0.1, 60, "mqtt", 0.0),  # every ten seconds a message: nothing else is due
        (0.0001, 60, "mqtt", 1 / 60 - 0.0001),
        (0.0001, 60, "amqp", 2 * (2 / 60 - 0.0001)),  # both sides, confirms are the broker's
        (0.0001, 0, "amqp", 0.0),
    ],
)
def test_a_month_is_messages_signs_of_life_and_reconnections(rate, keep_alive, protocol, pings):
    flow = Flow("f", "t", rate, ((10, 1.0),), qos=1)
    workload = Workload("t", (flow,), keep_alive=keep_alive, reconnects_per_day=2.0)
    facts = {
        "message_octets": Measure(100.0, "B", ""), "ping_octets": Measure(50.0, "B", ""),
        "connection_octets": Measure(1000.0, "B", ""),
    }  # fmt: skip
    month = 30 * 86_400
    assert month_of(workload, facts, protocol) == pytest.approx(month * (100 * rate + 50 * pings) + 30 * 2 * 1000)


def test_loads_come_with_their_spread_and_everything_lost():
    def load(rate: float, lost: int) -> dict:
        metrics = {"delivery_rate_msg_s": rate, "delivered": 100, "latency_us": {"p50": 1000, "p99": 9000}}
        return {"metrics": metrics, "ledger": {"lost": lost, "duplicated": 0}}

    facts = facts_of_load(load(10.0, 1), [load(30.0, 0), load(10.0, 0), load(20.0, 2)], cpu=3.0)
    assert (facts["throughput"].value, facts["throughput"].spread) == (20.0, (10.0, 30.0))
    assert (facts["lost"].value, facts["lost_at_full_speed"].value) == (1.0, 2.0)
    assert (facts["p99_ms"].value, facts["cpu_per_million"].value) == (9.0, 10_000.0)


def test_payloads_have_the_sizes_in_their_shares():
    flow = Flow("f", "t", 1.0, ((10, 0.6), (100, 0.4)))
    sizes = [len(payload) for payload in payloads_of(flow, 25)]
    assert (sizes.count(10), sizes.count(100)) == (15, 10)
    assert len(set(sizes[:5])) == 2  # mixed


def test_claims_are_held_against_the_numbers():
    more = {"message_protocol": 73.0, "message_octets": 209.0, "memory_idle_mb": 150.0}
    more["memory_per_connection_kb"] = 70.0
    amqp, mqtt = candidate("a", "amqp", **more), candidate("m", "mqtt", **more | {"memory_idle_mb": 10.0})
    frames = content("basic.publish", body=b"x", exchange="orders", routing_key="a.b")
    amqp.first_publish = b"".join(map(encode, frames)).hex()
    mqtt.first_publish = encode_mqtt(Publish("a/b", b"x" * 200), Version.V3_1_1).hex()
    run = Run(statements=[row("mqtt-3.1.1:MQTT-4.3.3-2", "deviates", "m")])
    found = {claim.quote.partition(":")[0]: claim for claim in claims([choose("dog-gps", WORKLOAD, [amqp, mqtt])], run)}
    assert found["Overhead of AMQP"].finding == "wrong"
    size = len(encode(frames[0]))
    assert f"of its {size} octets 9 are text" in found["Overhead of AMQP"].evidence.text
    assert "takes 3 octets of it, the topic's name, sent each time, 3;" in found["Overhead of MQTT"].evidence.text
    assert found["Resources of AMQP"].finding == "holds"
    assert found["QoS 2"].finding == "incomplete"
    assert claims([choose("dog-gps", WORKLOAD, [amqp, candidate("b", "amqp")])], run) == []
    amqp.tls = "TLSv1.3"  # its records are not the protocol's own octets
    secured = claims([choose("dog-gps", WORKLOAD, [amqp, mqtt])], run)
    assert [claim.quote for claim in secured] == ["Test: use MQTT"]


def test_documents_escape_what_they_show():
    a = candidate("a", "amqp")
    a.product = "<b>|"
    report = Report("2026-01-01", "1", "m", [choose("w", WORKLOAD, [a, candidate("b", "mqtt")])])
    assert "&lt;b&gt;" in page(report)
    assert "<b>" not in page(report)
    assert "| &lt;b>\\| 1 |" in markdown(report)


@pytest.fixture
def few(monkeypatch) -> int:
    """Fewer messages of each flow: each is waited for, so that it has packets of its own."""
    monkeypatch.setattr(choose_measure, "MESSAGES", 4)
    return 4


@pytest.mark.alike
@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
@pytest.mark.parametrize("name", names())
def test_every_named_workload_reaches_its_consumer(protocol, name, embedded, tmp_path, few):
    seen = sample(identify(embedded.target(protocol)), read(name), tmp_path, "mqproofdev")
    assert [seen.of(flow.name).count for flow in read(name).flows] == [few, few]


@pytest.mark.alike
@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
def test_tls_costs_its_records_and_nothing_of_the_protocol_changes(protocol, tmp_path, few):
    found = []
    for options in ({}, {"certificates": str(make_certificates(tmp_path))}):
        with DRIVERS["embedded"].start([protocol], options=options) as broker:
            found.append(sample(identify(broker.targets[0]), WORKLOAD, tmp_path / str(len(options)), "mqproofdev"))
    plain, secured = found
    assert (plain.tls, secured.tls) == ("", "TLSv1.3")
    assert plain.first_publish == secured.first_publish
    if plain.kind == "dumpcap":
        more = secured.of("f").stream - plain.of("f").stream
        assert more == few * 2 * 22  # header, content type and tag (RFC 8446 section 5.2), here and in the answer


@pytest.mark.alike
@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
def test_a_sample_holds_the_octets_that_were_captured(protocol, embedded, tmp_path):
    """Each packet of the device's and the consumer's connections is in one phase; the account is the second opinion."""
    seen = sample(identify(embedded.target(protocol)), WORKLOAD, tmp_path, "mqproofdev")
    (file,) = tmp_path.glob("*.pcapng")
    phases = seen.phases + seen.consumer
    assert seen.of("f").count == MESSAGES
    assert seen.of("f").payload == sum(map(len, payloads_of(FLOW, MESSAGES)))
    per_message = len(seen.first_publish) - len(payloads_of(FLOW, 1)[0])
    answer = {"amqp": 21, "mqtt": 4}[protocol]  # basic.ack, PUBACK
    assert seen.of("f").stream - seen.of("f").payload == MESSAGES * (per_message + answer)
    if seen.kind == "dumpcap":
        assert sum(phase.packets for phase in phases) == as_json(analyze(str(file)))["packets"]


@pytest.mark.whole_run
def test_a_verdict_on_the_embedded_brokers(tmp_path):
    statements = [row("mqtt-5.0:MQTT-3.1.2-8", "conforms", "embedded-mqtt")]
    Run(complete=True, statements=[row("amqp-0-9-1:3.1.3.3/words", "conforms", "embedded-amqp"), *statements]).save(
        tmp_path / "run"
    )
    command = [
        sys.executable, "-P", "-m", "mqproof.harness.cli", "choose", "embedded", "embedded-mqtt",
        "--workload", "dog-gps", "--run", str(tmp_path / "run"), "--seconds", "0.5", "-o", str(tmp_path / "out"),
        "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    (choice,) = data["choices"]
    assert choice["recommended"] == "embedded-mqtt"  # presence was shown to work; the other has no such thing
    for one in choice["candidates"]:
        assert one["facts"]["throughput"]["value"] > 0
        assert one["facts"]["lost"]["value"] == 0
        assert one["facts"]["memory_idle_mb"]["value"] > 1
        assert one["tls"].startswith("TLSv1.")  # the workload asks for it
    assert any("TLS is asked for" in sentence["text"] for sentence in choice["sentences"])
    assert data == json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert "<h1>" in (tmp_path / "out" / "verdict.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rabbitmq", "--workload", "dog-gps"], "two targets are compared, not 1"),
        (["embedded", "mosquito", "--workload", "dog-gps"], "is no target"),
        (["embedded", "embedded-mqtt", "--workload", "dog"], "the named workloads are"),
        (["embedded", "embedded-mqtt", "--workload", "dog-gps", "--run", "nowhere"], "is no run"),
    ],
)
def test_wrong_usage_is_one_line(arguments, says):
    done = CliRunner().invoke(app, ["choose", *arguments])
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_page_in_docs_is_one_of_ours():
    text = (Path(__file__).parents[3] / "docs" / "verdict.md").read_text(encoding="utf-8")
    for name in names():
        assert f"## {name}" in text
    assert re.search(r"Measured on \d{4}-\d\d-\d\d with mqproof", text)
