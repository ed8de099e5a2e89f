"""``mqproof analyze`` beyond the account: messages, findings, filters, and the forms of the output."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mqproof.dissectors.packets.craft import CLIENT, Conversation
from mqproof.dissectors.packets.pcap import Packet, write_packets

Mqproof = Callable[..., subprocess.CompletedProcess[str]]
CAPTURES = Path(__file__).parents[3] / "captures"
GOLDEN = sorted(CAPTURES.glob("*.pcapng"))
SCHEMA = json.loads(files("mqproof.harness").joinpath("analysis.schema.json").read_text())
AMQP, MQTT = CAPTURES / "amqp-messages.pcapng", CAPTURES / "mqtt-5.0.pcapng"


@pytest.fixture
def mqproof(mqproof_here: Mqproof) -> Mqproof:
    return mqproof_here


def account_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    account: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(account, SCHEMA)
    return account


def test_json_of_all_golden_captures_follows_the_schema(mqproof: Mqproof) -> None:
    plain = account_of(mqproof("analyze", *GOLDEN, "--json"))
    assert plain["looked_closer"] is False
    closer = account_of(mqproof("analyze", *GOLDEN, "--json", "--messages", "--findings", "--kind", "*"))
    assert closer["looked_closer"] is True
    assert closer["bytes"] == plain["bytes"]
    assert closer["selected"]["frames"]["count"] == sum(
        row["count"] for rows in plain["kinds"].values() for row in rows.values()
    )


def test_tables_of_the_views_fit_80_columns(mqproof: Mqproof) -> None:
    done = mqproof("analyze", AMQP, MQTT, "--messages", "--findings", "--kind", "*", "--topic", "#")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for words in ("What became of the messages", "costliest", "nagle-delayed-ack", "Selected frames"):
        assert words in done.stdout


def test_csv_has_the_figures_of_the_json(mqproof: Mqproof) -> None:
    account = account_of(mqproof("analyze", MQTT, "--json", "--messages"))
    rows = list(csv.DictReader(io.StringIO(mqproof("analyze", MQTT, "--csv", "--messages").stdout)))
    found = {(row["table"], row["row"], row["measure"]): row["value"] for row in rows}
    assert found["kinds", "mqtt/PUBLISH", "bytes"] == str(account["kinds"]["mqtt"]["PUBLISH"]["bytes"])
    assert found["account", "", "packets"] == "112"
    assert found["topics", "top/home/room0", "payload"] == "160"
    assert found["followed", "groups/mqtt qos2/handshakes", "completed"] == "10"


def test_a_topic_that_a_spreadsheet_would_take_for_a_formula_is_text(mqproof: Mqproof, tmp_path: Path) -> None:
    talk = Conversation()
    name = b"=cmd()"
    publish = bytes([0x30, len(name) + 3, 0, len(name)]) + name + b"x"
    packets = [*talk.open(), *talk.say(CLIENT, b"\x10\x0e\0\4MQTT\4\2\0\x3c\0\2me" + publish)]
    path = tmp_path / "evil.pcapng"
    write_packets(path, [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
    rows = list(csv.reader(io.StringIO(mqproof("analyze", path, "--csv").stdout)))
    assert [row for row in rows if "=cmd()" in "".join(row)]
    assert [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@")] == []


def test_a_connection_is_the_account_of_its_packets(mqproof: Mqproof) -> None:
    both = account_of(mqproof("analyze", AMQP, MQTT, "--json", "--connection", ":17705"))
    alone = account_of(mqproof("analyze", MQTT, "--json"))
    assert (both["packets"], both["bytes"]["captured"]) == (alone["packets"], alone["bytes"]["captured"])
    assert [entry["name"] for entry in both["files"]] == [str(MQTT)]
    one = account_of(mqproof("analyze", MQTT, "--json", "--connection", "127.0.0.1:57332-127.0.0.1:17705"))
    assert one["tcp"]["connections"] == 1
    assert one["kinds"]["mqtt"]["CONNECT"]["count"] == 1


def test_a_stretch_of_time_is_the_account_of_its_packets(mqproof: Mqproof) -> None:
    whole = account_of(mqproof("analyze", MQTT, "--json"))
    parts = [
        account_of(mqproof("analyze", MQTT, "--json", *options))
        for options in (["--until", "0.05"], ["--since", "0.0500000001"])
    ]
    assert sum(part["packets"] for part in parts) == whole["packets"]
    assert sum(part["bytes"]["captured"] for part in parts) == whole["bytes"]["captured"]
    assert all(part["packets"] for part in parts)


def test_findings_have_the_packet_numbers_of_the_users_file(mqproof: Mqproof) -> None:
    whole = account_of(mqproof("analyze", AMQP, "--json", "--findings"))["findings"]
    part = account_of(mqproof("analyze", AMQP, "--json", "--findings", "--since", "0.0001"))["findings"]
    assert whole[0]["packets"] == part[0]["packets"]


def test_kinds_and_topics_that_are_asked_for(mqproof: Mqproof) -> None:
    kinds = account_of(mqproof("analyze", MQTT, AMQP, "--json", "--kind", "pub*", "--kind", "basic.deliver"))
    assert set(kinds["kinds"]["mqtt"]) == {"PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"}
    assert set(kinds["kinds"]["amqp"]) == {"basic.deliver"}
    assert kinds["selected"]["by_kind"]["PUBLISH"]["payload"] == 300
    topic = account_of(mqproof("analyze", MQTT, AMQP, "--json", "--topic", "home/room0", "--topic", "user.1.#"))
    assert topic["followed"]["groups"]["amqp"]["published"] == 6
    assert sum(row["published"] for name, row in topic["followed"]["groups"].items() if name != "amqp") == 8
    assert topic["selected"]["by_kind"]["body"]["payload"] == 1200
    assert [row["topic"] for row in topic["topics"]["top"]] == ["home/room0"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--connection", "somewhere"], "'somewhere' is no connection: write 10.0.0.1:40000"),
        (["--connection", ":1-:2-:3"], "has two ends"),
        (["--connection", "192.0.2.1"], "no packet is of the connections"),
        (["--since", "yesterday"], "'yesterday' is no point in time"),
        (["--topic", "a/#/b"], "'a/#/b' is no topic filter"),
        (["--json", "--csv"], "exclude each other"),
    ],
)
def test_a_filter_that_makes_no_sense_gets_one_line(mqproof: Mqproof, options: list[str], complaint: str) -> None:
    done = mqproof("analyze", MQTT, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_standard_input_can_be_followed_and_filtered() -> None:
    command = [sys.executable, "-m", "mqproof.harness.cli", "analyze", "-", "--json", "--messages", "--until", "60"]
    with MQTT.open("rb") as capture:
        done = subprocess.run(command, stdin=capture, capture_output=True, text=True, timeout=60, check=False)
    account = account_of(done)
    assert account["followed"]["groups"]["mqtt qos1"]["published"] == 5
    assert account["files"][0]["name"] == "-"
