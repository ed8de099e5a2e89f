import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from mqproof.harness.chaos.saboteur import Saboteur
from mqproof.harness.chaos.scenario import Scenario
from mqproof.harness.reference.amqp.server import start_in_thread as start_amqp
from mqproof.harness.reference.mqtt.server import start_in_thread as start_mqtt
from mqproof.harness.targets.target import Target

Stand = Callable[..., Saboteur]
NOTHING = Scenario(())


@pytest.fixture(scope="session")
def amqp_target() -> Iterator[Target]:
    handle = start_amqp()
    yield Target("embedded-amqp", "amqp", "127.0.0.1", handle.port, "guest", "guest")
    handle.stop()


@pytest.fixture(scope="session")
def mqtt_target() -> Iterator[Target]:
    handle = start_mqtt()
    yield Target("embedded-mqtt", "mqtt", "127.0.0.1", handle.port)
    handle.stop()


@pytest.fixture
def stand() -> Iterator[Stand]:
    """``stand(target, scenario)``: a saboteur that ends with the test."""
    made: list[Saboteur] = []

    def begin(target: Target, scenario: Scenario = NOTHING, **options: object) -> Saboteur:
        made.append(Saboteur(target, scenario, **options))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for saboteur in made:
        saboteur.close()


@pytest.fixture
def echo() -> Iterator[Target]:
    """A server that sends back what it gets, one connection after the other."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    while octets := connection.recv(65536):
                        connection.sendall(octets)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    yield Target("echo", "mqtt", "127.0.0.1", listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
