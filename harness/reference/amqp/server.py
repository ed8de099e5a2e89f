"""The reference broker on asyncio sockets: as a program, or in a thread of this process.

    python -m mqproof.harness.reference.amqp.server --host 127.0.0.1 --port 0

prints ``listening HOST:PORT`` when it is ready, and ends on SIGTERM or SIGINT. SIGUSR1 blocks publishers as if memory
were short, SIGUSR2 lets them go on.
"""

import argparse
import asyncio
import random
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, cast

from mqproof.harness.reference.amqp.broker import STRANGER, Broker, Settings
from mqproof.harness.reference.amqp.connection import Connection
from mqproof.harness.reference.amqp.defects import KNOWN
from mqproof.harness.reference.amqp.phases import Phase

_PORTS: Final = range(20000, 32000)  # below the range from which the kernel takes ports for outgoing connections
_READ_LIMIT: Final = 8 * 1024 * 1024  # octets of unread replies after which a client is not listened to
_BACKLOG: Final = 1024
_LINGER: Final = 1.0  # seconds for which a closed socket takes, and drops, what the client still sends
_STOP_TIMEOUT: Final = 60.0  # seconds, on however busy a machine


class Link(asyncio.Protocol):
    """One socket and its connection."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._transport: asyncio.Transport
        self._connection: Connection
        self._due = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._connection = Connection(self._server.broker, self._wake, self._server.host)
        self._server.links.add(self)

    def data_received(self, data: bytes) -> None:
        """Pass octets on, and stop reading from a client that does not read its replies."""
        self._connection.receive(data)
        if self._connection.blocked:
            self._transport.pause_reading()
        if self._transport.get_write_buffer_size() > _READ_LIMIT:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the connection that its socket is gone."""
        self._server.links.discard(self)
        self._connection.lost()

    def pause_writing(self) -> None:
        """Stop deliveries: the client reads too slowly."""
        self._connection.socket_full = True

    def resume_writing(self) -> None:
        """Go on with deliveries."""
        self._connection.socket_full = False
        self._listen()
        self._connection.resume()

    def _listen(self) -> None:
        """Read again, unless the client is blocked as a publisher or the socket is closing."""
        if not self._connection.blocked and not self._transport.is_closing():
            self._transport.resume_reading()

    def _wake(self) -> None:
        if not self._due:
            self._due = True
            self._server.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits, and close the socket when the connection has ended."""
        self._due = False
        data = self._connection.output()
        if data and not self._transport.is_closing():
            self._transport.write(data)
        if self._connection.phase is Phase.ENDED:
            self._hang_up()
            return
        if self._connection.starved:
            self._connection.resume()
        if not self._connection.socket_full:
            self._listen()

    def _hang_up(self) -> None:
        """Close the socket so that what was written arrives: closing with octets unread would send a reset after it."""
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
            self._server.loop.call_later(_LINGER, self._transport.abort)
        else:
            self._transport.close()

    def abort(self) -> None:
        """Cut the socket."""
        self._transport.abort()


class Server:
    """A listening broker. All its methods belong on the thread of ``loop``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings | None = None,
        defects: Iterable[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.loop = loop
        self.broker = Broker(loop, settings, defects)
        self.links: set[Link] = set()
        self.host = ""
        self.port = 0
        self._tls = tls
        self._listener: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one below 32768. Raises OSError."""
        listener = _listening_socket(host, port)
        self.host, self.port = listener.getsockname()[:2]
        self._listener = await self.loop.create_server(lambda: Link(self), sock=listener, ssl=self._tls)

    async def stop(self) -> None:
        """Stop listening and cut all connections."""
        if self._listener is not None:
            self._listener.close()
        for link in list(self.links):
            link.abort()
        await asyncio.sleep(0)  # the loop's turn in which it tells the links


def _listening_socket(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    choices = [port] if port else [*random.sample(_PORTS, 50), 0]
    for choice in choices:
        candidate = socket.socket(family, socket.SOCK_STREAM)
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, choice))
            candidate.listen(_BACKLOG)
        except OSError:
            candidate.close()
            if choice == choices[-1]:
                raise
        else:
            return candidate
    raise AssertionError("unreachable")


class Handle:
    """A broker that runs in another thread. ``port`` is where it listens."""

    def __init__(self, server: Server, owned: threading.Thread | None) -> None:
        self.server = server
        self.host = server.host
        self.port = server.port
        self._owned = owned

    def raise_alarm(self, reason: str = "asked for") -> None:
        """Block publishers as if memory were short."""
        self.server.loop.call_soon_threadsafe(self.server.broker.raise_alarm, reason)

    def clear_alarm(self) -> None:
        """Let publishers go on."""
        self.server.loop.call_soon_threadsafe(self.server.broker.clear_alarm)

    def stop(self) -> None:
        """Cut all connections and free the port; returns when that is done. Harmless twice."""
        loop = self.server.loop
        if loop.is_closed() or not loop.is_running():
            return
        asyncio.run_coroutine_threadsafe(self.server.stop(), loop).result(_STOP_TIMEOUT)
        if self._owned is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._owned.join(_STOP_TIMEOUT)


def start_in_thread(
    defects: Iterable[str] = frozenset(),
    *,
    settings: Settings | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
) -> Handle:
    """Start a broker on a thread of its own, or on ``loop``, which runs on another thread already.

    Raises OSError when it cannot listen, ValueError for an unknown defect.
    """
    thread = None
    if loop is None:
        loop, thread = loop_in_thread()

    async def begin() -> Server:
        server = Server(loop, settings, defects, tls)
        await server.start(host, port)
        return server

    try:
        return Handle(asyncio.run_coroutine_threadsafe(begin(), loop).result(), thread)
    except BaseException:
        if thread is not None:
            loop.call_soon_threadsafe(loop.stop)
        raise


def loop_in_thread() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    """Return an event loop that runs on a new daemon thread; it ends, and closes itself, when it is stopped."""
    loop = asyncio.new_event_loop()
    running = threading.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.call_soon(running.set)
        try:
            loop.run_forever()
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="reference-broker", daemon=True)
    thread.start()
    running.wait()
    return loop, thread


def main(argv: Sequence[str] | None = None) -> int:
    """Run a broker until SIGTERM or SIGINT; return the exit code (2 when it cannot listen or its options are wrong)."""
    options = _parser().parse_args(argv)
    try:
        asyncio.run(_serve(options))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot start the reference broker: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The AMQP 0-9-1 reference broker of mqproof; in memory.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--user", default="guest")
    parser.add_argument("--password", default="guest")
    parser.add_argument("--vhost", action="append", default=[], help="one more virtual host; repeatable")
    parser.add_argument("--heartbeat", type=int, default=60, help="seconds offered in connection.tune; 0 for none")
    parser.add_argument("--certificate", type=Path, help="PEM file; the broker then speaks TLS only")
    parser.add_argument("--key", type=Path, help="PEM file of the certificate's key")
    parser.add_argument("--defect", action="append", default=[], choices=sorted(KNOWN), metavar="NAME")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    vhosts = tuple(dict.fromkeys((*Settings().vhosts, *options.vhost)))
    users = {STRANGER: STRANGER, options.user: options.password}
    settings = Settings(users=users, vhosts=vhosts, heartbeat=options.heartbeat)
    tls = None
    if options.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.certificate, options.key)
    server = Server(loop, settings, options.defect, tls)
    await server.start(options.host, options.port)
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    loop.add_signal_handler(signal.SIGUSR1, server.broker.raise_alarm, "asked for by a signal")
    loop.add_signal_handler(signal.SIGUSR2, server.broker.clear_alarm)
    sys.stdout.write(f"listening {server.host}:{server.port}\n")
    sys.stdout.flush()
    await done.wait()
    await server.stop()


if __name__ == "__main__":
    sys.exit(main())
