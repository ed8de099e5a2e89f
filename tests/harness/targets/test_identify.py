"""Preflight: what a target says of itself, and one clear line for everything that can be wrong with it."""

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.errors import (
    LoginRefused,
    Silent,
    TargetError,
    TlsFailed,
    Unreachable,
    WrongProtocol,
)
from mqproof.harness.targets.identify import identify
from mqproof.harness.targets.target import Target, Tls, parse_url

SECRET = "correct-horse"


def refusal(target: Target, kind: type[TargetError]) -> str:
    """Return the message of the error that identification ends in; the same rules hold for all of them."""
    with pytest.raises(kind) as caught:
        identify(target)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert caught.value.exit_code == 3
    assert "\n" not in message
    assert message.startswith(target.redacted_url)
    assert SECRET not in message
    return message


def at(port: int, scheme: str = "amqp", **changes: object) -> Target:
    return parse_url(f"{scheme}://someone:{SECRET}@127.0.0.1:{port}").with_(**changes)


@pytest.fixture
def http_port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which nobody listens, and that nobody else can get meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


# -- what is there ---------------------------------------------------------------------------------------------------


def test_rabbitmq_says_what_it_is(rabbitmq: LocalBroker) -> None:
    target = identify(rabbitmq.target("amqp").with_(product="", version=""))
    assert target.product == "RabbitMQ"
    assert target.version == DRIVERS["rabbitmq"].availability().detail
    assert {"publisher_confirms", "basic.nack"} <= target.capabilities


def test_rabbitmqs_mqtt_has_neither_version_5_nor_qos_2(rabbitmq: LocalBroker) -> None:
    capabilities = identify(rabbitmq.target("mqtt")).capabilities
    assert {"mqtt-3.1.1", "qos-1", "retain"} <= capabilities
    assert not {"mqtt-5.0", "qos-2"} & capabilities


def test_mosquitto_says_what_it_is(mosquitto: LocalBroker) -> None:
    target = identify(mosquitto.targets[0].with_(product="", version=""))
    assert (target.product, target.version) == ("mosquitto", DRIVERS["mosquitto"].availability().detail)
    assert {"mqtt-3.1.1", "mqtt-5.0", "qos-1", "qos-2", "retain", "shared_subscription"} <= target.capabilities
    assert target.properties["receive_maximum"] == 20


def test_the_embedded_brokers_say_what_they_are(embedded: LocalBroker) -> None:
    amqp_target, mqtt_target = map(identify, embedded.targets)
    assert "mqproof" in amqp_target.product
    assert "publisher_confirms" in amqp_target.capabilities
    assert {"mqtt-3.1.1", "mqtt-5.0", "qos-2"} <= mqtt_target.capabilities


@pytest.mark.parametrize("refuses_by", ["code 1", "code 0x84", "closing"])
def test_a_server_for_mqtt_3_1_1_only(serve: Callable[..., int], refuses_by: str) -> None:
    def handle(connection: socket.socket) -> None:
        decoder = mqtt.Decoder()
        decoder.feed(connection.recv(65536))
        connect = decoder.next()
        assert isinstance(connect, mqtt.Connect)
        if connect.version is Version.V5_0 and refuses_by == "closing":
            connection.close()
            return
        code = {"code 1": 1, "code 0x84": 0x84}[refuses_by] if connect.version is Version.V5_0 else 0
        connection.sendall(mqtt.encode(mqtt.Connack(False, code), Version.V3_1_1))

    target = identify(at(serve(handle), "mqtt"))
    assert {"mqtt-3.1.1", "qos-2"} <= target.capabilities
    assert "mqtt-5.0" not in target.capabilities


@pytest.mark.parametrize(
    ("properties", "lacking"),
    [
        ((("maximum_qos", 0),), {"qos-1", "qos-2"}),
        ((("maximum_qos", 1),), {"qos-2"}),
        ((("retain_available", 0), ("shared_subscription_available", 0)), {"retain", "shared_subscription"}),
        ((("topic_alias_maximum", 5),), set()),
    ],
)
def test_connack_says_what_a_server_lacks(
    serve: Callable[..., int], properties: mqtt.Properties, lacking: set[str]
) -> None:
    def handle(connection: socket.socket) -> None:
        decoder = mqtt.Decoder()
        decoder.feed(connection.recv(65536))
        version = decoder.next().version  # type: ignore[union-attr]
        connection.sendall(mqtt.encode(mqtt.Connack(False, 0, properties), version))
        connection.recv(65536)

    everything = {"qos-1", "qos-2", "retain", "shared_subscription", "wildcard_subscription", "subscription_identifier"}
    everything |= {"topic_alias"} if "topic_alias_maximum" in dict(properties) else set()
    capabilities = identify(at(serve(handle), "mqtt")).capabilities
    assert capabilities == everything - lacking | {"mqtt-3.1.1", "mqtt-5.0"}


# -- nothing is there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "mqtt", "mqtts"])
def test_nothing_listens(scheme: str, silent_port: int) -> None:
    assert f"nothing listens on port {silent_port}" in refusal(at(silent_port, scheme), Unreachable)


def test_no_such_host() -> None:
    message = refusal(at(1).with_(host="no-such-host.invalid"), Unreachable)
    assert "'no-such-host.invalid'" in message


def test_a_host_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(address: object, timeout: float) -> socket.socket:
        assert 0 < timeout < 60
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", never)
    assert "does not answer on port 1" in refusal(at(1), Unreachable)


# -- something else is there -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("scheme", ["amqp", "mqtt"])
def test_an_http_server(http_port: int, scheme: str) -> None:
    assert "an HTTP server answers" in refusal(at(http_port, scheme), WrongProtocol)


@pytest.mark.usefixtures("hurry")
def test_mqtt_where_amqp_was_said(embedded: LocalBroker) -> None:
    assert "write mqtt:// instead" in refusal(at(embedded.target("mqtt").port), WrongProtocol)


def test_amqp_where_mqtt_was_said(embedded: LocalBroker) -> None:
    assert "write amqp:// instead" in refusal(at(embedded.target("amqp").port, "mqtt"), WrongProtocol)


@pytest.mark.usefixtures("hurry")
def test_real_brokers_on_the_wrong_port(rabbitmq: LocalBroker, mosquitto: LocalBroker) -> None:
    assert "write amqp:// instead" in refusal(at(rabbitmq.target("amqp").port, "mqtt"), WrongProtocol)
    assert "write mqtt:// instead" in refusal(at(rabbitmq.target("mqtt").port), WrongProtocol)
    assert "write mqtt:// instead" in refusal(at(mosquitto.targets[0].port), WrongProtocol)


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("scheme", ["amqp", "mqtt"])
def test_a_server_that_says_nothing(serve: Callable[..., int], scheme: str) -> None:
    def swallow(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    assert "says nothing" in refusal(at(serve(swallow), scheme), Silent)


@pytest.mark.usefixtures("hurry")
def test_a_server_that_drips(serve: Callable[..., int]) -> None:
    """A frame that never ends must not outlast the deadline, though octets keep coming."""
    start = amqp.encode(amqp.method("connection.start", 0, version_minor=9, server_properties={"a": "b" * 1000}))
    waits = threading.Event()

    def drip(connection: socket.socket) -> None:
        for number in range(len(start) - 1):
            connection.sendall(start[number : number + 1])
            waits.wait(0.01)

    message = refusal(at(serve(drip)), WrongProtocol)
    assert "does not speak AMQP" in message


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("scheme", ["amqp", "mqtt"])
def test_a_server_that_closes_at_once(serve: Callable[..., int], scheme: str) -> None:
    assert "without a word" in refusal(at(serve(socket.socket.close), scheme), WrongProtocol)


@pytest.mark.parametrize("scheme", ["amqp", "mqtt"])
@pytest.mark.parametrize(
    ("greeting", "finding"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server"),
        (b"220 mail ESMTP ready, and glad to meet you\r\n", "does not speak"),
        (b"\xff" * 40, "does not speak"),
    ],
)
def test_a_server_that_says_something_else(
    serve: Callable[..., int], scheme: str, greeting: bytes, finding: str
) -> None:
    assert finding in refusal(at(serve(lambda connection: connection.sendall(greeting)), scheme), WrongProtocol)


def test_a_server_for_another_amqp(serve: Callable[..., int]) -> None:
    def offer(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"AMQP\0\1\0\0")
        connection.close()

    assert "offers 1-0-0" in refusal(at(serve(offer)), WrongProtocol)


# -- it does not let us in -------------------------------------------------------------------------------------------


def test_rabbitmq_refuses_a_wrong_password_and_an_unknown_vhost(rabbitmq: LocalBroker) -> None:
    target = rabbitmq.target("amqp")
    message = refusal(target.with_(password=SECRET), LoginRefused)
    assert "user 'guest'" in message
    assert "403" in message
    assert "virtual host '/nowhere'" in refusal(target.with_(vhost="/nowhere"), LoginRefused)
    assert "check user and password" in refusal(rabbitmq.target("mqtt").with_(password=SECRET), LoginRefused)


@pytest.mark.real_broker
def test_mosquitto_with_a_user_refuses_others() -> None:
    with DRIVERS["mosquitto"].start(options={"user": f"anna:{SECRET}"}) as broker:
        target = broker.targets[0]
        assert identify(target).product == "mosquitto"
        assert "user 'anna'" in refusal(target.with_(password="wrong"), LoginRefused)
        assert "without a login" in refusal(target.with_(user=None, password=None), LoginRefused)


def test_a_server_that_closes_instead_of_refusing(serve: Callable[..., int]) -> None:
    """AMQP 0-9-1 lets a server close the connection without a word when the login fails."""
    start = amqp.method("connection.start", 0, version_minor=9, mechanisms=b"PLAIN", locales=b"en_US")

    def close(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(amqp.encode(start))
        connection.recv(65536)
        connection.close()

    assert "refuses user 'someone'" in refusal(at(serve(close)), LoginRefused)


def test_a_server_that_takes_no_passwords(serve: Callable[..., int]) -> None:
    start = amqp.method("connection.start", 0, version_minor=9, mechanisms=b"EXTERNAL", locales=b"en_US")

    def offer(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(amqp.encode(start))
        connection.recv(65536)

    assert "EXTERNAL" in refusal(at(serve(offer)), LoginRefused)


def test_an_mqtt_server_that_is_busy(serve: Callable[..., int]) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(mqtt.encode(mqtt.Connack(False, 3), Version.V3_1_1))

    assert "server unavailable" in refusal(at(serve(refuse), "mqtt"), Unreachable)


@pytest.mark.usefixtures("hurry")
def test_a_server_that_falls_mute_at_5_0_is_known_as_one_for_3_1_1(
    serve: Callable[[Callable[[socket.socket], None]], int]
) -> None:
    def old(connection: socket.socket) -> None:
        decoder = mqtt.Decoder(Version.V3_1_1)
        while octets := connection.recv(65536):
            decoder.feed(octets)
            while (packet := decoder.next()) is not None:
                if isinstance(packet, mqtt.Connect) and packet.version is Version.V3_1_1:
                    connection.sendall(mqtt.encode(mqtt.Connack(False, 0), Version.V3_1_1))

    found = identify(at(serve(old), "mqtt"))
    assert "mqtt-3.1.1" in found.capabilities
    assert "mqtt-5.0" not in found.capabilities


def test_what_a_broker_calls_itself_is_one_line_of_limited_length(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"product": b"\x1b[2J<b>" + b"x" * 100_000, "version": "9" * 5000}
    monkeypatch.setattr("mqproof.harness.targets.identify.greet_amqp", lambda *_: said)
    found = identify(at(1))
    assert found.product.startswith(r"\x1b[2J<b>xxx")
    assert max(len(found.product), len(found.version)) < 110


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
def test_tls_verifies_by_default(
    embedded: LocalBroker, serve_tls: Callable[[int], int], certificates: Path, protocol: str
) -> None:
    target = embedded.target(protocol)
    secured = target.with_(host="localhost", port=serve_tls(target.port), tls=Tls())
    assert "--ca-file" in refusal(secured, TlsFailed)
    assert identify(secured.with_(tls=Tls(certificates / "ca.pem"))).capabilities == identify(target).capabilities
    assert identify(secured.with_(tls=Tls(insecure=True))).capabilities
    assert "mismatch" in refusal(secured.with_(host="127.0.0.1", tls=Tls(certificates / "ca.pem")), TlsFailed)


@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
def test_tls_where_none_is_spoken(embedded: LocalBroker, protocol: str) -> None:
    message = refusal(at(embedded.target(protocol).port, protocol, tls=Tls()), TlsFailed)
    assert f"begins with {protocol}://" in message


@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
def test_no_tls_where_it_is_spoken(embedded: LocalBroker, serve_tls: Callable[[int], int], protocol: str) -> None:
    port = serve_tls(embedded.target(protocol).port)
    assert f"write {protocol}s:// instead" in refusal(at(port, protocol), WrongProtocol)


@pytest.mark.usefixtures("hurry")
def test_a_server_that_never_finishes_the_tls_handshake(serve: Callable[..., int]) -> None:
    waits = threading.Event()
    port = serve(lambda connection: waits.wait(10) and None)
    assert "TLS handshake" in refusal(at(port, tls=Tls()), Silent)
    waits.set()


@pytest.mark.parametrize("content", [None, "no certificates in here\n"])
def test_a_ca_file_that_cannot_be_used(embedded: LocalBroker, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    message = refusal(at(embedded.target("amqp").port, tls=Tls(path)), TlsFailed)
    assert f"cannot use {path} as --ca-file" in message
