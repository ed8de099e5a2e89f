"""A WebSocket in front of a broker that has none: what comes in its frames goes to the broker's port, and back.

Some brokers take AMQP over WebSocket themselves; the ones that the captures are made with do not.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator

from mqproof.harness.reference.mqtt.websocket import BINARY, accept_key, frame
from mqproof.harness.targets.drivers.ports import Port
from mqproof.harness.targets.target import Target


@contextlib.contextmanager
def bridged(target: Target, port: Port) -> Iterator[Target]:
    """Yield the target as one connection over WebSocket sees it. No subprotocol is asked for, and none is answered."""
    with socket.create_server(("127.0.0.1", port.number)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, target))
        thread.start()
        yield target.with_(host="127.0.0.1", port=port.number)
        thread.join()


def _serve(listener: socket.socket, target: Target) -> None:
    with listener.accept()[0] as client, socket.create_connection((target.host, target.port)) as broker:
        for end in (client, broker):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        held = b""
        while b"\r\n\r\n" not in held:
            held += client.recv(65536)
        head, _, held = held.partition(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key:")).split()[1]
        lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
        client.sendall(b"\r\n".join((*lines, b"Sec-WebSocket-Accept: " + accept_key(key), b"", b"")))
        back = threading.Thread(target=_back, args=(broker, client))
        back.start()
        _forth(client, broker, held)
        back.join()


def _back(broker: socket.socket, client: socket.socket) -> None:
    """Each piece that the broker says is one binary frame."""
    with contextlib.suppress(ConnectionError):  # the client closes first: the broker, too, may reset
        while octets := broker.recv(65536):
            client.sendall(frame(BINARY, octets))
        client.shutdown(socket.SHUT_WR)


def _forth(client: socket.socket, broker: socket.socket, held: bytes) -> None:
    """Take the mask off the client's frames, which are short: RFC 6455 section 5.3."""
    while octets := client.recv(65536):
        held += octets
        while len(held) >= 8:
            size, at = held[1] & 127, 2
            if size == 126:
                size, at = int.from_bytes(held[2:4]), 4
            if len(held) < at + 4 + size:
                break
            mask, payload = held[at : at + 4], held[at + 4 : at + 4 + size]
            broker.sendall(bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload)))
            held = held[at + 4 + size :]
    with contextlib.suppress(OSError):
        broker.shutdown(socket.SHUT_WR)
