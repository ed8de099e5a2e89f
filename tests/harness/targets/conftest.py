"""Fake servers, and a patience short enough for tests of what never answers."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from mqproof.harness.patience import patience

Handler = Callable[[socket.socket], None]
Serve = Callable[[Handler], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves each connection with a handler, in threads; it returns the port."""
    with ExitStack() as stack:

        def start(handler: Handler) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            open_connections: list[socket.socket] = []

            def accept() -> None:
                with suppress(OSError):
                    while True:
                        connection = listener.accept()[0]
                        open_connections.append(connection)
                        threading.Thread(target=guard, args=(connection,), daemon=True).start()

            def guard(connection: socket.socket) -> None:
                with suppress(OSError), connection:
                    handler(connection)
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(60)
                    while connection.recv(65536):  # closing on unread octets would reset what we said
                        pass

            def end() -> None:
                listener.shutdown(socket.SHUT_RDWR)
                for connection in open_connections:
                    connection.close()

            thread = threading.Thread(target=accept, daemon=True)
            thread.start()
            stack.callback(thread.join, 5)
            stack.callback(end)
            return int(listener.getsockname()[1])

        yield start


@pytest.fixture
def serve_tls(serve: Serve, certificates: Path) -> Callable[[int], int]:
    """Return a function that puts TLS before a port of 127.0.0.1; it returns the port for TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")

    def start(port: int) -> int:
        def terminate(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as outer, socket.create_connection(
                ("127.0.0.1", port)
            ) as inner:
                back = threading.Thread(target=pump, args=(inner, outer), daemon=True)
                back.start()
                pump(outer, inner)

        return serve(terminate)

    return start


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while octets := source.recv(65536):
            sink.sendall(octets)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make deadlines ten times shorter: 5 s for a greeting become 0.5 s."""
    monkeypatch.setattr(patience, "factor", 0.1)
