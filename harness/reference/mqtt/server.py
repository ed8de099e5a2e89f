"""The reference broker on asyncio sockets; ``python -m mqproof.harness.reference.mqtt.server`` runs it alone.

Everything is in memory: sessions and retained messages are gone when the process ends. A 5.0 client sees the limits in
CONNACK; options set them.
"""

import argparse
import asyncio
import contextlib
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from mqproof.dissectors.mqtt.tables import ReasonCode
from mqproof.harness.reference.mqtt.broker import Broker
from mqproof.harness.reference.mqtt.connection import Connection, Phase
from mqproof.harness.reference.mqtt.limits import Limits
from mqproof.harness.reference.mqtt.websocket import WebSocket

HIGH_WATER = 1 << 20  # octets that wait for a slow reader before messages stay in the session's queue
GATHER = 1 << 18  # octets that are gathered within one turn of the loop
TURN = 1 << 15  # octets that a client has read of it before others have their turn: thousands of its smallest packets
TOO_MUCH = 8 << 20  # octets that wait before nothing more is read from that client

LONGEST_STOP = 60.0  # seconds, on however busy a machine

DESCRIPTION = "The MQTT 3.1.1 and 5.0 reference broker. Everything is in memory and ends with it."

Result = TypeVar("Result")


class SocketClient(asyncio.Protocol):
    """One client's socket: gathers what the connection writes and sends it once per turn of the loop."""

    def __init__(self, server: "Server", web: bool = False) -> None:
        self._server = server
        limit = server.broker.limits.maximum_packet_size_v3
        self._web = WebSocket(self, limit, server.broker.defective) if web else None
        self._pieces: list[bytes] = []
        self._gathered = 0
        self._closing = False
        self._transport: asyncio.Transport | None = None
        self.connection = Connection(server.broker, self._web or self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio: the client is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.max_size = TURN  # type: ignore[attr-defined]
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._server.clients.add(self)
        self._server.arm()

    def data_received(self, data: bytes) -> None:
        """Asyncio: octets came."""
        if self._web:
            self._web.receive(data, self.connection.receive)
        else:
            self.connection.receive(data)
        self._server.arm()
        if self._transport and not self._closing and self._transport.get_write_buffer_size() > TOO_MUCH:
            self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Asyncio: the client is gone."""
        self._closing = True
        self._server.clients.discard(self)
        self.connection.lost()
        self._server.arm()

    def pause_writing(self) -> None:
        """Asyncio: the client does not read what we write."""
        self.connection.writable = False

    def resume_writing(self) -> None:
        """Asyncio: the client reads again."""
        if self._transport and not self._closing:
            self._transport.resume_reading()
        self.connection.resume_writing()

    def write(self, data: bytes) -> None:
        """Send with the next turn of the loop."""
        if self._closing:
            return
        if not self._pieces:
            self._server.loop.call_soon(self._flush)
        self._pieces.append(data)
        self._gathered += len(data)
        if self._gathered > GATHER:
            self._flush()  # the transport may say now that its buffer is full

    def _flush(self) -> None:
        pieces, self._pieces, self._gathered = self._pieces, [], 0
        if pieces and self._transport and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))

    def close(self) -> None:
        """Send what waits, then close; a client that does not read is cut off after a second."""
        if self._closing:
            return
        self._closing = True
        self._flush()
        if self._transport and not self._transport.is_closing():
            self._transport.close()
            self._server.loop.call_later(1.0, self._transport.abort)


    def abort(self) -> None:
        """Close at once, whatever still waits."""
        if self._transport:
            self._transport.abort()


class Server:
    """A broker that listens on loopback or wherever it is told to."""

    def __init__(self, broker: Broker, loop: asyncio.AbstractEventLoop) -> None:
        self.broker = broker
        self.loop = loop
        self.clients: set[SocketClient] = set()
        self.port = 0
        self.ws_port: int | None = None
        self._listeners: list[asyncio.Server] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, ws_port: int | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Listen, for WebSocket too unless ``ws_port`` is None; port 0 lets the system choose. Raises OSError."""
        self._tls = tls
        self.port = await self._listen(host, port, web=False)
        if ws_port is not None:
            self.ws_port = await self._listen(host, ws_port, web=True)

    async def _listen(self, host: str, port: int, *, web: bool) -> int:
        make = partial(SocketClient, self, web)
        listener = await self.loop.create_server(make, host, port, ssl=self._tls, backlog=1024)
        self._listeners.append(listener)
        chosen: int = listener.sockets[0].getsockname()[1]
        return chosen

    def arm(self) -> None:
        """Wake up when the broker's next deadline comes."""
        due = self.broker.timers.next_due()
        if self._alarm is not None:
            if due is not None and self._alarm.when() <= due:
                return
            self._alarm.cancel()
            self._alarm = None
        if due is not None:
            self._alarm = self.loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._alarm = None
        try:
            self.broker.tick()
        finally:
            self.arm()

    async def stop(self) -> None:
        """Say good-bye to every client and stop listening."""
        if self._alarm is not None:
            self._alarm.cancel()
        for listener in self._listeners:
            listener.close()
        for client in list(self.clients):
            if client.connection.phase is Phase.OPEN:
                client.connection.disconnect(ReasonCode.SERVER_SHUTTING_DOWN, "server shutting down")
            client.close()
        await asyncio.sleep(0)  # what the sockets took at once is on its way
        for client in list(self.clients):
            client.abort()
        await asyncio.sleep(0)


def make_broker(
    loop: asyncio.AbstractEventLoop,
    limits: Limits | None = None,
    defects: frozenset[str] = frozenset(),
    users: dict[str, bytes] | None = None,
) -> Broker:
    """Return a broker on the loop's clock."""
    try:
        release = version("mqproof")
    except PackageNotFoundError:
        release = "0"
    return Broker(loop.time, limits, defects, users, release)


class LoopThread:
    """An event loop in a thread of its own, for any number of brokers."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="mqtt reference broker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Handle:
    """A running broker in this process; also a context manager."""

    def __init__(self, server: Server, own: LoopThread | None) -> None:
        self._server = server
        self._own = own
        self.host = "127.0.0.1"
        self.port = server.port
        self.ws_port = server.ws_port  # None unless it was asked for

    @property
    def broker(self) -> Broker:
        """The state, for looking at while nothing runs."""
        return self._server.broker

    def stop(self) -> None:
        """Disconnect everybody and stop; a second call does nothing."""
        server, own, self._own = self._server, self._own, None
        if not server.loop.is_closed():
            _run(server.stop(), server.loop)
        if own is not None:
            own.stop()

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _run(work: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop) -> Result:
    return asyncio.run_coroutine_threadsafe(work, loop).result(LONGEST_STOP)


def start_in_thread(
    defects: frozenset[str] = frozenset(),
    *,
    limits: Limits | None = None,
    users: dict[str, bytes] | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
    port: int = 0,
    ws_port: int | None = None,
    tls: ssl.SSLContext | None = None,
) -> Handle:
    """Start a broker on loopback and return when it listens.

    ``loop``: a running loop of another thread (see LoopThread), which then outlives the broker; by default the broker
    gets its own. Raises OSError when the port is taken, ValueError for an unknown defect.
    """
    own = LoopThread() if loop is None else None
    where = own.loop if own else loop
    assert where is not None

    async def begin() -> Server:
        server = Server(make_broker(where, limits, defects, users), where)
        await server.start(port=port, ws_port=ws_port, tls=tls)
        return server

    try:
        return Handle(_run(begin(), where), own)
    except BaseException:
        if own:
            own.stop()
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mqproof.harness.reference.mqtt.server", description=DESCRIPTION)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument("--ws-port", type=int, help="serve MQTT over WebSocket too; 0 lets the system choose")
    parser.add_argument("--user", help="the only user that is let in")
    parser.add_argument("--password", default="")
    parser.add_argument("--cert", help="a PEM file: speak TLS only, on all ports")
    parser.add_argument("--key", help="the certificate's key, where it is in a file of its own")
    parser.add_argument("--defect", action="append", default=[], help="break a promise on purpose (see defects.py)")
    for field in fields(Limits):
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=_limit(field.type), metavar="VALUE", help=f"default {field.default}")
    return parser


def _limit(kind: object) -> Callable[[str], int | float | bool | str]:
    """Return what reads a limit's value from the command line, by the limit's type."""
    if kind is bool:
        return _yes_or_no
    if kind is float:
        return float
    return str if "str" in str(kind) else int


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError("say true or false")
    return text == "true"


async def _serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    given = {field.name: getattr(arguments, field.name) for field in fields(Limits)}
    limits = replace(Limits(), **{name: value for name, value in given.items() if value is not None})
    users = {arguments.user: arguments.password.encode()} if arguments.user else None
    server = Server(make_broker(loop, limits, frozenset(arguments.defect), users), loop)
    tls = None
    if arguments.cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(arguments.cert, arguments.key)
    await server.start(arguments.host, arguments.port, arguments.ws_port, tls)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if server.ws_port is not None:
        sys.stdout.write(f"listening ws {arguments.host}:{server.ws_port}\n")
    sys.stdout.write(f"listening {arguments.host}:{server.port}\n")
    sys.stdout.flush()
    await over.wait()
    await server.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a broker until SIGTERM or SIGINT; print ``listening HOST:PORT`` when it is ready."""
    arguments = _parser().parse_args(argv)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(_serve(arguments))
        except (OSError, ValueError) as error:
            sys.stderr.write(f"{error}\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
