"""Local brokers: started in isolation, disturbed on request, gone afterwards."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.deadline import Deadline
from mqproof.harness.targets.drivers import DRIVERS, amqtt, base, mosquitto, ports, rabbitmq
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.drivers.certificates import SPEAK_TLS, make_certificates
from mqproof.harness.targets.drivers.ports import Port
from mqproof.harness.targets.errors import BrokerFailed, BrokerMissing, LoginRefused, TlsFailed
from mqproof.harness.targets.identify import identify, is_ready
from mqproof.harness.targets.talk import Talk
from mqproof.harness.targets.target import Target, Tls

REAL = [pytest.param(name, marks=pytest.mark.real_broker) for name in DRIVERS if name != "embedded"]
SECONDS = 60.0  # for an answer that is certain to come
EPHEMERAL = 32768  # from here on the kernel picks ports for outgoing connections


@pytest.fixture(params=["embedded", *REAL])
def broker(request: pytest.FixtureRequest) -> Iterator[LocalBroker]:
    """A broker that the test may disturb."""
    with DRIVERS[request.param].start() as broker:
        yield broker


def reached(broker: LocalBroker) -> list[Target]:
    """Return the targets, and how they are reached over WebSocket."""
    return [way for target in broker.targets for way in (target, target.websocket) if way is not None]


def listening(pids: list[int]) -> set[tuple[str, int]]:
    """Return the addresses on which the processes and what is below them listen."""
    servers = [psutil.Process(pid) for pid in pids]
    family = [*servers, *(child for server in servers for child in server.children(recursive=True))]
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_a_broker_is_isolated_and_gone_afterwards(broker: LocalBroker) -> None:
    addresses = listening(broker.pids)
    assert {(target.host, target.port) for target in reached(broker)} <= addresses
    assert {ip for ip, _ in addresses} == {"127.0.0.1"}
    assert all(port < EPHEMERAL for _, port in addresses)
    assert all(target.is_ours and identify(target).capabilities for target in reached(broker))
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in broker.folders)
    processes = [psutil.Process(pid) for pid in broker.pids]
    broker.stop()
    assert not any(process.is_running() for process in processes)
    assert not any(folder.exists() for folder in broker.folders)
    assert not any(is_ready(target, 1) for target in reached(broker))


def test_a_broker_comes_back_on_its_ports(broker: LocalBroker) -> None:
    before, pids = broker.targets, broker.pids
    for how in ("soft", "hard"):
        broker.restart(how)  # type: ignore[arg-type]
        assert broker.targets == before
        assert all(is_ready(target, SECONDS) for target in broker.targets)
    assert not set(pids) & set(broker.pids)


def test_a_killed_broker_is_gone_until_it_is_restarted(broker: LocalBroker) -> None:
    broker.kill()
    assert broker.pids == []
    assert not any(is_ready(target, 1) for target in broker.targets)
    broker.restart()
    assert all(is_ready(target, SECONDS) for target in broker.targets)


def test_a_paused_broker_answers_after_resume(broker: LocalBroker) -> None:
    broker.pause()
    assert not any(is_ready(target, 0.2) for target in broker.targets)
    broker.resume()
    assert all(is_ready(target, SECONDS) for target in broker.targets)


def test_rabbitmq_leaves_no_port_mapper_behind(rabbitmq: rabbitmq.RabbitBroker) -> None:
    with pytest.raises(BrokerFailed, match="rabbitmqctl nonsense failed"):
        rabbitmq.control("nonsense")  # looks for commands of plugins, and starts what starts a port mapper
    everybody = [process.info for process in psutil.process_iter(["name", "environ"])]
    mappers = [each["environ"] or {} for each in everybody if each["name"] == "epmd"]
    assert str(rabbitmq.folders[0]) not in {environ.get("HOME") for environ in mappers}
    assert str(rabbitmq.folders[0]) in psutil.Process(rabbitmq.pids[0]).environ()["HOME"]


def test_rabbitmqctl_reaches_the_node(rabbitmq: rabbitmq.RabbitBroker) -> None:
    assert set(rabbitmq.control("list_vhosts").split()) >= {"/", "other", "closed"}
    with pytest.raises(BrokerFailed, match="rabbitmqctl delete_queue failed"):
        rabbitmq.control("delete_queue", "absent")


@pytest.mark.real_broker
def test_rabbitmq_serves_only_what_is_wanted() -> None:
    with DRIVERS["rabbitmq"].start(["amqp"]) as broker:
        assert [target.protocol for target in broker.targets] == ["amqp"]
        assert len(listening(broker.pids)) == 2  # AMQP and the node's own


@pytest.mark.real_broker
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("name", DRIVERS)
def test_an_ordinary_user_can_start_a_broker(name: str) -> None:
    """The one privilege kept is to read files, because the interpreter may lie in root's home."""
    reading = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *reading, "env", "HOME=/nonexistent")
    program = (
        "from mqproof.harness.targets.drivers import DRIVERS\n"
        "from mqproof.harness.targets.identify import identify\n"
        f"with DRIVERS[{name!r}].start() as broker:\n"
        "    assert all(identify(target).capabilities for target in broker.targets)\n"
        "    broker.restart('hard')\n"
        "    print('served')\n"
        "assert not any(folder.exists() for folder in broker.folders)\n"
    )
    done = subprocess.run(
        [*nobody, sys.executable, "-c", program], capture_output=True, text=True, timeout=180, cwd="/", check=False
    )
    assert (done.returncode, done.stdout) == (0, "served\n"), done.stderr


def retained(target: Target, topic: str) -> bytes | None:
    """Return the retained message of a topic, None when there is none before the answer to PINGREQ."""
    with Talk(target, Deadline.within(SECONDS)) as talk:
        decoder = mqtt.Decoder(Version.V3_1_1)
        for packet in (mqtt.Connect("mqprooftest"), mqtt.Subscribe(1, (mqtt.Subscription(topic),)), mqtt.Pingreq()):
            talk.send(mqtt.encode(packet, Version.V3_1_1))
        while True:
            decoder.feed(talk.receive())
            while (packet := decoder.next()) is not None:
                if isinstance(packet, mqtt.Publish):
                    return packet.payload
                if isinstance(packet, mqtt.Pingresp):
                    return None


def retain(target: Target, topic: str, payload: bytes) -> None:
    with Talk(target, Deadline.within(SECONDS)) as talk:
        for packet in (mqtt.Connect("mqprooftest"), mqtt.Publish(topic, payload, 1, retain=True, packet_id=1)):
            talk.send(mqtt.encode(packet, Version.V3_1_1))
        decoder = mqtt.Decoder(Version.V3_1_1)
        while not isinstance(packet := decoder.next(), mqtt.Puback):
            if packet is None:
                decoder.feed(talk.receive())


@pytest.mark.real_broker
def test_mosquitto_keeps_what_it_retains_over_a_restart() -> None:
    with DRIVERS["mosquitto"].start() as broker:
        retain(broker.targets[0], "kept", b"message")
        broker.restart("soft")
        assert retained(broker.targets[0], "kept") == b"message"


@pytest.mark.real_broker
def test_options_are_lines_of_the_brokers_configuration() -> None:
    with DRIVERS["mosquitto"].start(options={"max_qos": "1"}) as broker:
        assert "qos-2" not in identify(broker.targets[0]).capabilities


@contextmanager
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a broker that never lets us in fail within two seconds."""
    with monkeypatch.context() as patched:
        patched.setattr(base, "READY_SECONDS", 2.0)
        yield


@pytest.mark.real_broker
def test_amqtt_takes_options_and_is_found_as_a_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "amqtt"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m amqtt.scripts.broker_script "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(amqtt.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    refuse = '{"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": "/dev/null"}}'
    assert DRIVERS["amqtt"].availability() == (True, amqtt.installed_version("amqtt"))
    with DRIVERS["amqtt"].start(folder=tmp_path / "kept") as broker:
        assert "mqtt-3.1.1" in identify(broker.targets[0]).capabilities
    with pytest.raises(BrokerFailed, match="did not serve mqtt"), hurried(monkeypatch):
        DRIVERS["amqtt"].start(options={"plugins": refuse})


def test_mosquitto_without_websocket_is_known_by_its_program(tmp_path: Path) -> None:
    builds = {"plain": b"Opening websockets listen socket", "old": b"libwebsockets.c", "new": b"Sec-WebSocket-Accept"}
    for name, octets in builds.items():
        (tmp_path / name).write_bytes(octets)
    assert [mosquitto._has_websocket(str(tmp_path / name)) for name in builds] == [False, True, True]


@pytest.mark.real_broker
@pytest.mark.parametrize("name", SPEAK_TLS)
def test_a_broker_with_certificates_speaks_tls_to_who_trusts_them(name: str, tmp_path: Path) -> None:
    folder = make_certificates(tmp_path)
    with DRIVERS[name].start(options={"certificates": str(folder)}) as broker:
        for target in broker.targets:
            assert target.scheme == f"{target.protocol}s"
            assert identify(target).capabilities
            with pytest.raises(TlsFailed):
                identify(target.with_(tls=Tls()))


def test_a_folder_that_is_given_stays(tmp_path: Path) -> None:
    with DRIVERS["embedded"].start(["mqtt"], folder=tmp_path / "broker") as broker:
        assert broker.folders == [tmp_path / "broker" / "mqtt"]
    assert (tmp_path / "broker" / "mqtt" / "log").exists()


def test_a_protocol_that_a_driver_does_not_speak() -> None:
    with pytest.raises(ValueError, match="mosquitto does not speak amqp"):
        DRIVERS["mosquitto"].start(["amqp"])


def test_what_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "PLACES", ())
    monkeypatch.delenv("RABBITMQ_HOME", raising=False)
    monkeypatch.setattr(mosquitto, "find", lambda program: None)
    monkeypatch.setattr(amqtt, "find", lambda: None)
    for name, package in (("rabbitmq", "rabbitmq-server"), ("mosquitto", "mosquitto"), ("amqtt", "amqtt")):
        availability = DRIVERS[name].availability()
        assert not availability.installed
        assert availability.detail.endswith(package)
        with pytest.raises(BrokerMissing, match=f"{name} is not installed: run '.*{package}'"):
            DRIVERS[name].start()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that somebody listens on, and that the next broker's first attempt gets."""
    reserve = Port.reserve
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = int(listener.getsockname()[1])
        first = iter([Port(number, None)])
        monkeypatch.setattr(Port, "reserve", lambda: next(first, None) or reserve())
        yield number
        assert next(first, None) is None


@pytest.mark.parametrize("name", ["embedded", *REAL])
def test_a_port_taken_meanwhile_is_replaced(name: str, taken: int) -> None:
    with DRIVERS[name].start() as broker:
        assert taken not in [target.port for target in broker.targets]
        assert all(is_ready(target, SECONDS) for target in broker.targets)


@pytest.mark.real_broker
def test_the_second_attempt_has_all_that_was_asked_for(taken: int) -> None:
    """A login that the first attempt alone knew would let everybody in."""
    with DRIVERS["mosquitto"].start(options={"user": "me:secret"}) as broker:
        (target,) = broker.targets
        assert target.port != taken
        assert (target.user, target.password) == ("me", "secret")
        assert is_ready(target, SECONDS)
        with pytest.raises(LoginRefused):
            identify(target.with_(user=None, password=None))


@pytest.mark.real_broker
def test_a_broker_that_cannot_start_tells_why_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BrokerFailed, match="Unknown configuration variable"):
        DRIVERS["mosquitto"].start(options={"nonsense": "true"}, folder=tmp_path)
    assert not [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(tmp_path)]


def test_ports_are_below_the_ephemeral_range_and_held() -> None:
    reserved = [Port.reserve() for _ in range(20)]
    numbers = {port.number for port in reserved}
    assert len(numbers) == 20
    assert all(1024 < number < EPHEMERAL for number in numbers)
    for port in reserved:
        port.release()


def test_a_port_in_use_or_reserved_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Port.reserve()
    free = Port.reserve()
    free.release()
    with socket.create_server(("127.0.0.1", 0)) as used:
        offers = iter([held.number, used.getsockname()[1], free.number])
        monkeypatch.setattr(ports._random, "randint", lambda low, high: next(offers))
        given = Port.reserve()
    assert given.number == free.number
    monkeypatch.setattr(ports._random, "randint", lambda low, high: held.number)
    with pytest.raises(ports.NoPort):
        Port.reserve()
    held.release()
    given.release()


def test_the_brokers_environment_is_not_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RABBITMQ_NODENAME", "PYTHONPATH", "ERL_FLAGS", "MQPROOF_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in base.environment().values()
    assert shutil.which("sh", path=base.environment()["PATH"])
