"""The proxy passes bytes, half-closes and resets as if it were not there."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from mqproof.harness.proxy.core import Link, Passage, Proxy, ProxyLoop
from mqproof.harness.targets.target import Target

RESET = b"\1\0\0\0\0\0\0\0"


class Peer:
    """A server that hands out the connections it accepts."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(60)
        self.target = Target("peer", "mqtt", "127.0.0.1", self.listener.getsockname()[1])

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(60)
        return connection


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.listener.close()


@pytest.fixture
def loop() -> Iterator[ProxyLoop]:
    with ProxyLoop() as loop:
        yield loop


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=60)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_bytes_pass_both_ways_unchanged(loop: ProxyLoop, peer: Peer) -> None:
    with connect(loop.proxy(peer.target)) as client, peer.accept() as server:
        client.sendall(b"\x00ping\xff")
        assert server.recv(100) == b"\x00ping\xff"
        server.sendall(b"pong")
        assert client.recv(100) == b"pong"


def test_large_transfers_arrive_whole(loop: ProxyLoop, peer: Peer) -> None:
    payload = bytes(range(256)) * 20_000
    with connect(loop.proxy(peer.target)) as client, peer.accept() as server:
        sender = threading.Thread(target=lambda: (client.sendall(payload), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read_all(server) == payload
        sender.join()


def test_what_a_client_said_that_is_gone_before_it_was_even_accepted_is_heard(loop: ProxyLoop, peer: Peer) -> None:
    heard: list[bytes] = []
    busy, is_held = threading.Event(), threading.Event()

    class Listening(Passage):
        def from_client(self, octets: bytes) -> None:
            heard.append(octets)
            super().from_client(octets)

    proxy = loop.proxy(peer.target, Listening)
    loop.loop.call_soon_threadsafe(lambda: (is_held.set(), busy.wait(60)))
    assert is_held.wait(60)
    with connect(proxy) as client:
        client.sendall(b"last words")
    threading.Thread(target=lambda: peer.accept().close()).start()
    busy.set()
    loop.served(proxy, 60)
    assert heard == [b"last words"]


@pytest.mark.parametrize("closing", ["client", "server"])
def test_half_close_leaves_the_other_direction_open(loop: ProxyLoop, peer: Peer, closing: str) -> None:
    with connect(loop.proxy(peer.target)) as client, peer.accept() as server:
        first, second = (client, server) if closing == "client" else (server, client)
        first.shutdown(socket.SHUT_WR)
        assert second.recv(1) == b""
        second.sendall(b"still here")
        assert first.recv(100) == b"still here"


@pytest.mark.parametrize("cutting", ["client", "server"])
def test_reset_arrives_as_reset(loop: ProxyLoop, peer: Peer, cutting: str) -> None:
    with connect(loop.proxy(peer.target)) as client, peer.accept() as server:
        first, second = (client, server) if cutting == "client" else (server, client)
        first.sendall(b"x")
        assert second.recv(1) == b"x"
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        first.close()
        with pytest.raises(ConnectionResetError):
            second.recv(1)


def test_unreachable_broker_resets_the_client(loop: ProxyLoop, peer: Peer) -> None:
    peer.listener.close()
    proxy = loop.proxy(peer.target)
    with pytest.raises(ConnectionResetError), connect(proxy) as client:  # the reset may come before connect returns
        client.recv(1)


def test_passage_may_change_what_passes(loop: ProxyLoop, peer: Peer) -> None:
    class Shout(Passage):
        def from_client(self, octets: bytes) -> None:
            self.link.to_broker(octets.upper())

    def make(link: Link) -> Passage:
        return Shout(link)

    with connect(loop.proxy(peer.target, make)) as client, peer.accept() as server:
        client.sendall(b"quiet")
        assert server.recv(100) == b"QUIET"


def test_leaving_the_loop_ends_connections_and_frees_the_port(peer: Peer) -> None:
    with ProxyLoop() as loop:
        proxy = loop.proxy(peer.target)
        client, server = connect(proxy), peer.accept()
    assert client.recv(1) == b""
    assert server.recv(1) == b""
    client.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)


def test_leaving_the_loop_while_the_broker_is_being_reached_closes_the_client(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = threading.Event()

    async def never(self: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Proxy, "_connect", never)
    with ProxyLoop() as loop:
        client = connect(loop.proxy(peer.target))
        assert reached.wait(60)
    assert client.recv(1) == b""
    client.close()


def test_leaving_the_loop_ends_a_connection_that_did_not_notice_the_first_time(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, connect_really = threading.Event(), Proxy._connect

    async def deaf(self: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await connect_really(self)
        raise AssertionError

    monkeypatch.setattr(Proxy, "_connect", deaf)
    with ProxyLoop() as loop:
        client = connect(loop.proxy(peer.target))
        assert reached.wait(60)
    assert client.recv(1) == b""
    client.close()
