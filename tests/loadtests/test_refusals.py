"""What cannot be meant is refused with the reason before anything is made, and each rule is tried."""

import json
import socket
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from mqproof.loadtests.scenarios import refusals, unused
from mqproof.loadtests.scenarios.catalogue import with_defaults
from mqproof.loadtests.scenarios.presets import EXAMPLES, preset
from mqproof.loadtests.settings import HIDDEN, BadSettings, Settings

AMQP, MQTT = "amqp://localhost", "mqtt://localhost"
CASES: list[tuple[str, dict[str, Any], str]] = [
    (MQTT, {"queue_type": "quorum"}, "--queue-type and --persistent are AMQP's"),
    (MQTT, {"persistent": True}, "--queue-type and --persistent are AMQP's"),
    (MQTT, {"queue_arguments": {"x-max-length": 1}}, "--queue-argument and --exchange are AMQP's"),
    (MQTT, {"exchange": "topic"}, "--queue-argument and --exchange are AMQP's"),
    (MQTT, {"properties": {"priority": 1}}, "--property is AMQP's"),
    (MQTT, {"poll": 0.1}, "--poll is AMQP's"),
    (MQTT, {"nack_every": 2}, "--nack-every is AMQP's"),
    (MQTT, {"multi_ack": 2}, "--multi-ack is AMQP's"),
    (AMQP, {"mqtt_version": "5.0"}, "--mqtt-version is MQTT's"),
    (AMQP, {"shared": True}, "--shared is MQTT's"),
    (AMQP, {"multi_ack": 20, "prefetch": 10}, "--multi-ack is more than --prefetch"),
    (AMQP, {"nack_every": 2, "multi_ack": 2}, "--nack-every and --multi-ack contradict"),
    (AMQP, {"poll": 0.1, "multi_ack": 2}, "--poll takes one message at a time"),
    (AMQP, {"poll": 0.1, "consumer_rate": 5.0}, "--poll and --consumer-rate contradict"),
    (AMQP, {"max_unconfirmed": 5, "confirm": False}, "--max-unconfirmed needs --confirm"),
    (AMQP, {"queue_type": "quorum", "properties": {"delivery_mode": 1}}, "a quorum queue keeps every message"),
    (AMQP, {"queue_type": "stream"}, "a stream keeps what was consumed"),
    (AMQP, {"queue_type": "quorom"}, "--queue-type is classic or quorum"),
    (AMQP, {"exchange": "tpoic"}, "--exchange is direct, fanout, topic, headers, or a type"),
    (MQTT, {"mqtt_version": "4"}, "--mqtt-version is 3.1.1 or 5.0"),
    (AMQP, {"work": 0.1, "consumer_rate": 5.0}, "--work and --consumer-rate contradict"),
    (AMQP, {"ramp": 1.0}, "--ramp needs --rate"),
    (AMQP, {"scenario": "traffic-spike", "schedule": [[1.0, 5.0]]}, "traffic-spike has a schedule of its own"),
    (AMQP, {"scenario": "traffic-spike", "rate": 0.0}, "traffic-spike needs a --rate above 0"),
    (AMQP, {"requeue": False}, "--discard says what becomes of messages that --nack-every refuses"),
    (AMQP, {"sizes": [100, 200], "payload": 300}, "--payload and --sizes"),
    (AMQP, {"trace": "x", "processes": 2}, "--trace needs all arrivals in one process"),
]


def settings_for(url: str, given: dict[str, Any]) -> Settings:
    numbers = dict(given)
    scenario = numbers.pop("scenario", "throughput")
    return Settings(scenario, url, **with_defaults(scenario, numbers))


@pytest.mark.parametrize(("url", "given", "words"), CASES)
def test_impossible_combination_is_refused_with_the_reason(url: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadSettings, match=words):
        refusals.refuse_contradictions(settings_for(url, given))


def test_every_rule_is_tried() -> None:
    rules = [*refusals.MQTT, *refusals.AMQP, *refusals.BOTH]
    assert [reason for _, reason in rules if not any(reason.startswith(words[:20]) or words in reason
                                                     for *_, words in CASES)] == []  # fmt: skip


@pytest.mark.parametrize(
    ("scenario", "protocols", "given", "expected"),
    [
        ("throughput", ["amqp"], {"qos": 2, "workers": 3}, ["qos"]),
        ("throughput", ["amqp", "mqtt"], {"qos": 2, "prefetch": 3}, []),
        ("throughput", ["mqtt"], {"confirm": False, "prefetch": 3, "window": 5}, ["confirm", "prefetch"]),
        ("throughput", ["amqp"], {"rate": 5.0, "window": 5}, ["window"]),
        ("throughput", ["amqp"], {"queues": 3, "workers": 2}, ["workers"]),
        ("fan-out", ["mqtt"], {"users": 3, "workers": 3, "qos": 1}, ["users"]),
        ("alerts-qos1", ["mqtt"], {"qos": 0, "rate": 5.0}, ["qos"]),
        ("home-telemetry", ["amqp"], {"workers": 3, "exchange": "topic", "users": 5}, ["workers", "exchange"]),
        ("idle-connections", ["mqtt"], {"rate": 5.0, "users": 5, "connect_rate": 9.0}, ["rate"]),
        ("durability-cost", ["amqp"], {"persistent": True, "confirm": False, "payload": 99}, ["persistent", "confirm"]),
        ("scale-out", ["amqp"], {"consumer_rate": 5.0}, []),
        ("scale-out", ["amqp"], {"work": 0.1}, []),
        ("watch", ["mqtt"], {"workers": 3, "rate": 5.0}, ["workers"]),
        ("welcome-email", ["mqtt"], {"queues": 3, "users": 3, "qos": 2, "prefetch": 3}, ["queues", "prefetch"]),
    ],
)
def test_an_option_that_changes_nothing_is_named(
    scenario: str, protocols: list[str], given: dict[str, Any], expected: list[str]
) -> None:
    assert unused.unused(scenario, with_defaults(scenario, given), given, protocols) == expected


def test_whatever_describes_traffic_is_tried() -> None:
    about_the_run = {
        "scenario", "url", "duration", "requeue", "processes", "workload", "max_qos", "product", "capabilities",
        "prefix", "insecure",
    } | HIDDEN - {"template"}  # fmt: skip
    assert {entry.name for entry in fields(Settings)} - about_the_run == set(unused.TRIED)


@pytest.mark.whole_run
def test_an_option_without_use_is_said_and_left_out_of_the_result(
    mqproof_here: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    done = mqproof_here("load", "fan-out", "embedded-mqtt", "--users", "3", "--workers", "2", "--rate", "20",
                        "--queues", "2", "--duration", "0.5", "--connect-rate", "30",
                        "--out", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "connecting at 30 a second takes 0 s before that" in done.stdout
    assert done.stderr.splitlines() == [
        f"mqproof: fan-out has no use for {option}: it goes on without" for option in ("--users", "--queues")
    ]
    (entry,) = json.loads((tmp_path / "run.json").read_text())["loads"]
    assert (entry["settings"]["workers"], entry["settings"]["users"]) == (2, 2)


@pytest.mark.parametrize("url", [AMQP, MQTT])
def test_what_nobody_asked_for_is_not_refused(url: str) -> None:
    refusals.refuse_contradictions(settings_for(url, {}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--property", "nonsense=3"), "--property nonsense: what can be set is content_type"),
        (("--property", "priority=high"), "--property priority 'high' is no number"),
        (("--property", "priority=999"), "999 does not fit"),
        (("--property", "headers=x"), "--property headers: what can be set"),
        (("--queue-argument", "x-max-length"), "write KEY=VALUE"),
        (("--queue-argument", f"x-max-length={10**30}"), "does not fit"),
        (("--sizes", "10,ten"), "--sizes 'ten' is no number"),
        (("--variable-rate", "100"), "write RATE:SECONDS"),
        (("--payload-file", "/nowhere"), "--payload-file /nowhere: No such file"),
        (("--max-p99", "20 parsecs"), "is no time"),
        (("--master", "--worker"), "contradict each other"),
        (("--processes", "2", "--master"), "choose one"),
        (("--duration", "0"), "--duration must be from 0.1"),
        (("--web-port", "99999999"), "--web-port must be from 0 to 65535"),
        (("--metrics-port", "-1"), "--metrics-port must be from 0 to 65535"),
        (("--prefix", "a/b#+"), "--prefix 'a/b#+'"),
        (("--prefix", "amq.mine"), "--prefix 'amq.mine'"),
        (("--out", "/proc/nowhere/run"), "--out /proc/nowhere/run: "),
        (("--variable-rate", "10:1", "--rate", "5"), "--variable-rate says at what rate and how long: leave out"),
        (("--variable-rate", "10:1", "--duration", "5"), "leave out --duration"),
        (("--sizes", "100,200", "--payload", "100"), "--payload and --sizes: choose one"),
        (("--scale", "0.1"), "--scale is for benchmarks with numbers in their names: p2p-1K-1K-1K-1K"),
        (("--stats-url", "nonsense"), "--stats-url 'nonsense': write the http:// URL"),
        (("--stats-url", "ftp://me:secret@host"), "--stats-url 'ftp://me:***@host': write"),
    ],
)
def test_nonsense_is_one_line_and_exit_code_2(
    options: tuple[str, ...], words: str, mqproof: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    done = mqproof("load", "throughput", "embedded-amqp", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", ["--web-port", "--metrics-port"])
def test_a_port_that_is_taken_is_one_line_before_anything_is_started(
    option: str, mqproof_here: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = mqproof_here("load", "throughput", "embedded-amqp", option, port)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mqproof: {option} {port}: Address already in use: name another port\n"


def test_a_run_directory_that_stays_empty_is_not_left_behind(
    mqproof_here: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    done = mqproof_here("load", "throughput", "amqp://127.0.0.1:1", "--out", tmp_path / "some" / "run")
    assert done.returncode == 3, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.whole_run
@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("embedded-amqp", ("--exchange", "x-nonsense"), "declines what is asked for: "),
        ("embedded-mqtt", ("--exchange", "topic"), "--queue-argument and --exchange are AMQP's"),
        ("embedded-amqp", ("--payload", "200000"), "the engine sends at most"),
    ],
)
def test_what_only_the_broker_or_its_protocol_can_refuse_is_wrong_usage_too(
    target: str, options: tuple[str, ...], words: str, mqproof: Callable[..., "subprocess.CompletedProcess[str]"],
    tmp_path: Path,
) -> None:  # fmt: skip
    done = mqproof("load", "throughput", target, "--rate", "10", "--duration", "1", *options, "--out", tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_benchmarks_by_name_mean_the_numbers_in_their_names() -> None:
    assert preset("p2p-1K-1K-1K-1K") == ("p2p", {"payload": 28, "qos": 1, "users": 1000, "rate": 1000})
    assert preset("fanout-1-1k-1-1K") == ("fan-out", {"payload": 28, "qos": 1, "workers": 1000, "rate": 1.0})
    assert preset("sharedsub-1K-5-1K-1K", 0.1) == (
        "shared-subscription", {"payload": 28, "qos": 1, "users": 100, "workers": 2, "rate": 100.0},
    )  # fmt: skip
    assert preset("conn-tcp-10k-100") == (
        "idle-connections", {"payload": 28, "qos": 0, "users": 10_000, "connect_rate": 100},
    )  # fmt: skip
    assert all(preset(name) is not None for name in EXAMPLES)
    assert preset("p2p-1K-1K") is None
