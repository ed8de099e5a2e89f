"""Faults below the protocol: order and contents stay, time and connections do not."""

import socket
import time
from typing import Any

import pytest
from mqproof.harness.targets.target import Target


def connect(saboteur: Any) -> socket.socket:
    return socket.create_connection((saboteur.host, saboteur.port), timeout=10)


def exchange(connection: socket.socket, octets: bytes) -> bytes:
    connection.sendall(octets)
    answer = b""
    while len(answer) < len(octets):
        more = connection.recv(65536)
        assert more, f"the connection ended after {len(answer)} octets"
        answer += more
    return answer


# Plain octets look like MQTT of an unknown kind: the message stages let them pass as they are.
PAYLOAD = b"\x00" + bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("name", "options", "at_least"),
    [
        ("latency", {"delay": 0.1}, 0.2),  # there and back
        ("latency", {"delay": "50ms", "jitter": "20ms"}, 0.1),
        ("jitter", {"jitter": 0.05}, 0.0),
        ("bandwidth", {"rate": "50k"}, len(PAYLOAD) / 50_000),
    ],
)
def test_everything_comes_in_order_and_late(
    echo: Target, stand: Any, name: str, options: dict[str, Any], at_least: float
) -> None:
    saboteur = stand(echo)
    with connect(saboteur) as connection:
        exchange(connection, PAYLOAD)
        saboteur.fault(name, **options)
        began = time.monotonic()
        assert exchange(connection, PAYLOAD) == PAYLOAD
        assert time.monotonic() - began >= at_least
    assert [event.fault for event in saboteur.events] == [name]


def test_an_end_waits_for_what_is_under_way(echo: Target, stand: Any) -> None:
    saboteur = stand(echo)
    saboteur.fault("latency", delay=0.1)
    with connect(saboteur) as connection:
        connection.sendall(PAYLOAD)
        connection.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: connection.recv(65536), b"")) == PAYLOAD


def test_a_close_is_passed_on_late(echo: Target, stand: Any) -> None:
    saboteur = stand(echo)
    saboteur.fault("slow-close", delay=0.1)
    with connect(saboteur) as connection:
        connection.shutdown(socket.SHUT_WR)
        began = time.monotonic()
        assert connection.recv(100) == b""
        assert time.monotonic() - began >= 0.2  # each way


def test_a_reset_ends_the_connection(echo: Target, stand: Any) -> None:
    saboteur = stand(echo)
    with connect(saboteur) as connection:
        exchange(connection, PAYLOAD)
        saboteur.fault("reset")
        connection.sendall(PAYLOAD)
        with pytest.raises(ConnectionResetError):
            b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_black_hole_swallows_and_the_connection_stays(echo: Target, stand: Any) -> None:
    saboteur = stand(echo)
    with connect(saboteur) as connection:
        exchange(connection, PAYLOAD)
        hole = saboteur.fault("black-hole")
        connection.sendall(b"gone")
        while not hole.count:
            pass
        hole.stop()
        assert exchange(connection, b"here") == b"here"


def test_a_partition_heals_and_everything_comes(echo: Target, stand: Any) -> None:
    saboteur = stand(echo)
    with connect(saboteur) as connection:
        exchange(connection, PAYLOAD)
        with saboteur.fault("partition") as parted:
            connection.sendall(b"later")
            while not parted.count:
                pass
            connection.settimeout(0.05)
            with pytest.raises(TimeoutError):
                connection.recv(100)
        connection.settimeout(10)
        assert connection.recv(100) == b"later"


def test_a_probability_chooses_connections_by_the_seed(echo: Target, stand: Any) -> None:
    def fates() -> list[bool]:
        saboteur = stand(echo)
        saboteur.fault("reset", probability=0.5)
        found = []
        for _ in range(12):
            with connect(saboteur) as connection:
                try:
                    found.append(exchange(connection, b"\x00") == b"\x00")
                except (ConnectionError, AssertionError):
                    found.append(False)
        return found

    first = fates()
    assert set(first) == {True, False}
    assert fates() == first
