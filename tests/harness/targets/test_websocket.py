"""MQTT over WebSocket as a client: against an independent implementation, in any pieces, and what a user is told."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mqproof.harness.patience import patience
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.errors import Silent, TargetError, TlsFailed, Unreachable, WrongProtocol
from mqproof.harness.targets.identify import identify
from mqproof.harness.targets.target import Target, Tls, parse_url
from mqproof.harness.targets.websocket import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Frame,
    WebRefused,
    WebStream,
    accept_key,
    frame,
)
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_web
from websockets.frames import Frame as TheirFrame
from websockets.streams import StreamReader

Serve = Callable[[Callable[[socket.socket], None]], int]
ANSWER = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


def opened(octets: bytes, size: int = 1 << 30) -> tuple[WebStream, list[Frame]]:
    """Return a stream that has been fed its answer and these octets, in pieces, and the frames that came of them."""
    stream = WebStream("host:80", "/mqtt")
    answer = ANSWER.format(accept_key(stream._key)).encode() + octets
    found: list[Frame] = []
    for start in range(0, len(answer), size):
        stream.feed(answer[start : start + size])
        while (got := stream.next()) is not None:
            found.append(got)
    return stream, found


def parsed(octets: bytes) -> TheirFrame:
    """Return a client's frame as another implementation reads it."""
    reader = StreamReader()
    reader.feed_data(octets)
    parsing = TheirFrame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    result: TheirFrame = done.value.value
    return result


def test_accept_key_is_the_one_of_rfc_6455() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
@pytest.mark.parametrize("final", [True, False])
def test_our_frames_are_read_by_others(size: int, final: bool) -> None:
    payload = bytes(number % 251 for number in range(size))
    theirs = parsed(frame(BINARY, payload, final=final))
    assert (theirs.opcode, bytes(theirs.data), theirs.fin) == (BINARY, payload, final)


@pytest.mark.parametrize("size", [1, 7, 1 << 30])
def test_frames_of_others_are_read_in_any_pieces(size: int) -> None:
    frames = [
        TheirFrame(BINARY, b"x" * length, fin=fin) for length in (0, 125, 126, 65536) for fin in (True, False)
    ] + [TheirFrame(PING, b"p"), TheirFrame(CLOSE, b"\x03\xe8"), TheirFrame(TEXT, b"t")]
    octets = b"".join(one.serialize(mask=False) for one in frames)
    stream, found = opened(octets, size)
    assert stream.selected == "mqtt"
    assert [(one.opcode, one.payload, one.final) for one in found] == [
        (one.opcode, bytes(one.data), one.fin) for one in frames
    ]
    assert stream.rest() == b""


@pytest.mark.parametrize("octets", [b"\xc2\0", b"\x82\x80\1\2\3\4"], ids=["reserved bit", "masked"])
def test_a_frame_that_no_server_may_send_is_no_binary_frame(octets: bytes) -> None:
    assert opened(octets)[1][0].opcode == 15


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found"),
        (b"HTTP/1.1 101\r\n\r\n", "wrong Sec-WebSocket-Accept"),
        (b"HTTP/1.1 40\x1b[31m\r\n\r\n", r"40\\x1b\[31m"),
        (b"HTTP/1.1\r\n\r\n", "it answers HTTP/1.1"),
        (b"\x20\x02\0\0", "no HTTP"),
        (b"HTTP/1.1 101" + b"x" * 70000, "no HTTP"),
    ],
)
def test_a_server_that_opens_no_websocket(answer: bytes, says: str) -> None:
    with pytest.raises(WebRefused, match=says):
        WebStream("host:80", "/").feed(answer)


def test_the_request_offers_what_it_is_told_to() -> None:
    lines = WebStream("host:80", "/a?b", ("x", "mqtt")).request.decode().split("\r\n")
    assert lines[0] == "GET /a?b HTTP/1.1"
    assert {"Host: host:80", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: x, mqtt"} < set(lines)
    assert not any("Protocol" in line for line in WebStream("h", "/", ()).request.decode().split("\r\n"))


@contextmanager
def another_server(*subprotocols: str) -> Iterator[int]:
    """Serve WebSockets with another implementation, which echoes; the port is yielded."""
    loop = asyncio.new_event_loop()

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def start() -> tuple[object, int]:
        server = await serve_web(echo, "127.0.0.1", 0, subprotocols=subprotocols)  # type: ignore[arg-type]
        return server, next(iter(server.sockets)).getsockname()[1]

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    yield port
    loop.call_soon_threadsafe(server.close)  # type: ignore[attr-defined]
    asyncio.run_coroutine_threadsafe(server.wait_closed(), loop).result(60)  # type: ignore[attr-defined]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_a_wire_talks_to_another_implementation() -> None:
    from time import monotonic

    from mqproof.harness.wires.websocket import WebConnection

    with another_server("mqtt") as port:
        wire = WebConnection(Target("here", "mqtt", "127.0.0.1", port, path="/mqtt"))
        assert wire.selected == "mqtt"
        for size in (1, 126, 70_000):
            wire.send(b"x" * size)
            received = b""
            while len(received) < size:
                octets = wire.receive(monotonic() + 10)
                assert isinstance(octets, bytes)
                received += octets
            assert received == b"x" * size
        wire.send_frame(PING, b"are you there")
        wire.half_close()
        assert "closed" in str(wire.receive(monotonic() + 10))
        wire.close()


# -- whole targets ---------------------------------------------------------------------------------------------------


def over_web(broker: LocalBroker) -> Target:
    target = broker.target("mqtt").websocket
    assert target is not None
    return target


def test_a_broker_is_known_over_websocket_as_it_is_without(embedded: LocalBroker) -> None:
    found = identify(parse_url(over_web(embedded).url))
    assert found.capabilities == identify(embedded.target("mqtt")).capabilities
    assert found.product == "mqproof"


def test_tls_under_a_websocket_is_verified(
    embedded: LocalBroker, serve_tls: Callable[[int], int], certificates: Path
) -> None:
    secured = over_web(embedded).with_(host="localhost", port=serve_tls(over_web(embedded).port), tls=Tls())
    assert secured.url.startswith("wss://localhost:")
    with pytest.raises(TlsFailed, match="--ca-file"):
        identify(secured)
    assert "mqtt-5.0" in identify(secured.with_(tls=Tls(certificates / "ca.pem"))).capabilities


def refusal(target: Target, kind: type[TargetError]) -> str:
    with pytest.raises(kind) as caught:
        identify(target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_wrong_port_or_path_is_told_in_one_line(
    embedded: LocalBroker, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "factor", 0.1)

    def not_found(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def silence(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    def at(port: int) -> Target:
        return parse_url(f"ws://127.0.0.1:{port}/mqtt")

    assert "404 Not Found; check port and path" in refusal(at(serve(not_found)), WrongProtocol)
    assert "closes a WebSocket without a word" in refusal(at(embedded.target("mqtt").port), WrongProtocol)
    assert "says nothing to a WebSocket" in refusal(at(serve(silence)), Silent)
    assert "nothing listens" in refusal(at(1), Unreachable)
