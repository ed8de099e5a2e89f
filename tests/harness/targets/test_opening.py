"""Words on the command line become targets; passwords come from the URL, a file or the environment."""

import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.opening import open_all, plan, read_password
from mqproof.harness.targets.target import BadTarget, Target, Tls


def test_a_name_starts_a_broker_that_ends_with_the_resources() -> None:
    with ExitStack() as resources:
        targets = open_all(["embedded"], resources)
        assert [target.name for target in targets] == ["embedded-amqp", "embedded-mqtt"]
        assert all(target.capabilities for target in targets)
        again = open_all([target.url for target in targets], resources)
        assert [target.capabilities for target in again] == [target.capabilities for target in targets]
        assert not any(target.is_ours for target in again)
    with pytest.raises(Exception, match="nothing listens"), ExitStack() as resources:
        open_all([targets[0].url], resources)


def test_a_name_with_a_protocol_starts_only_that() -> None:
    assert plan("rabbitmq-mqtt") == (DRIVERS["rabbitmq"], ("mqtt",))
    assert plan("rabbitmq") == (DRIVERS["rabbitmq"], ("amqp", "mqtt"))


@pytest.mark.parametrize("word", ["kafka", "mosquitto-amqp", "http://host", "amqp://", "amqp://host:99999", ""])
def test_a_word_that_names_nothing_stops_before_anything_is_started(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(DRIVERS["embedded"]), "start", lambda *_, **__: pytest.fail("it was started"))
    with ExitStack() as resources, pytest.raises(BadTarget) as caught:
        open_all(["embedded", word], resources)
    assert "\n" not in str(caught.value)


def test_a_bad_url_does_not_show_its_password() -> None:
    with pytest.raises(BadTarget, match=r"\*\*\*") as caught:
        plan("ftp://anna:secret@host")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("amqp://anna@host", "from-environment"),
        ("amqp://anna:own@host", "own"),
        ("amqp://anna:@host", ""),
        ("amqp://host", "guest"),
        ("mqtt://anna@host", "from-environment"),
        ("mqtt://host", None),
    ],
)
def test_the_environments_password_is_for_users_without_one(
    url: str, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQPROOF_PASSWORD", "from-environment")
    target = plan(url, password=read_password())
    assert isinstance(target, Target)
    assert target.password == password
    assert "from-environment" not in f"{target} {target.redacted_url}"


def test_a_password_file_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQPROOF_PASSWORD", "from-environment")
    path = tmp_path / "password"
    path.write_bytes("pässword with spaces \r\nnot this\n".encode())
    assert read_password(path) == "pässword with spaces "
    assert read_password() == "from-environment"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadTarget, match="UTF-8"):
        read_password(path)
    with pytest.raises(BadTarget, match="No such file"):
        read_password(tmp_path / "absent")


def test_tls_is_verified_unless_said_otherwise() -> None:
    assert plan("amqps://host") == plan("amqps://host", tls=Tls())
    insecure = plan("mqtts://host", tls=Tls(insecure=True))
    assert isinstance(insecure, Target)
    assert insecure.tls == Tls(insecure=True)
    plain = plan("mqtt://host", tls=Tls(insecure=True))
    assert isinstance(plain, Target)
    assert plain.tls is None


@pytest.mark.parametrize(
    ("url", "scheme", "port", "path"),
    [
        ("ws://host", "ws", 80, "/mqtt"),
        ("wss://host", "wss", 443, "/mqtt"),
        ("ws://anna:secret@host:9001/", "ws", 9001, "/"),
        ("wss://host:8084/a/b%20c?token=1", "wss", 8084, "/a/b%20c?token=1"),
        ("mqtt://host/ignored", "mqtt", 1883, None),
    ],
)
def test_a_websocket_has_a_path(url: str, scheme: str, port: int, path: str | None) -> None:
    target = plan(url)
    assert isinstance(target, Target)
    assert (target.protocol, target.scheme, target.port, target.path) == ("mqtt", scheme, port, path)
    assert (target.tls is None) == (scheme != "wss")
    assert plan(target.url) == target
    assert "secret" not in target.redacted_url


@pytest.mark.parametrize("url", ["ws://host/a b", "ws://host/\u00e4", "ws://host/a\x01b"])
def test_a_path_that_no_request_line_can_hold_is_refused(url: str) -> None:
    with pytest.raises(BadTarget, match="no valid path") as caught:
        plan(url)
    assert "\n" not in str(caught.value)


def test_the_command_lists_what_can_be_started(mqproof: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    listed = {row["name"]: row for row in json.loads(mqproof("brokers", "--json").stdout)}
    assert list(listed) == ["embedded", "rabbitmq", "mosquitto", "amqtt"]
    for name, row in listed.items():
        assert row["installed"] == DRIVERS[name].availability().installed
        assert (row["version"] is None) == (row["install"] is not None) == (not row["installed"])
    table = mqproof("brokers").stdout.splitlines()
    assert [line.split()[0] for line in table] == list(listed)


def test_the_command_says_how_to_install_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mqproof.harness.cli.brokers import brokers
    from mqproof.harness.targets.drivers import mosquitto

    monkeypatch.setattr(mosquitto, "find", lambda program: None)
    brokers()
    lines = capsys.readouterr().out.splitlines()
    assert "mosquitto  mqtt       not installed: apt-get install --no-install-recommends mosquitto" in lines


@pytest.mark.parametrize(("host", "is_local"), [("localhost", True), ("[::1]", True), ("broker.example", False)])
def test_only_loopback_is_local(host: str, is_local: bool) -> None:
    target = plan(f"mqtt://{host}")
    assert isinstance(target, Target)
    assert target.is_local is is_local
