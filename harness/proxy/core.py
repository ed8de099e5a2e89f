"""A TCP proxy between a client and a broker that passes bytes, half-closes and resets faithfully.

It runs on an event loop in a thread of its own, so that tests and pytest stay synchronous. What happens to the bytes is
a :class:`Passage`; the plain one changes nothing. The recording tap and the saboteur are passages.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from mqproof.harness.targets.target import Target
from mqproof.harness.wires.base import tls_context

CHUNK = 65536
CONNECT_DEADLINE = 5.0  # seconds
ROUNDS = 10  # of the event loop, in which a connection that the system has made becomes a link of ours
_LINGER_ZERO = struct.pack("ii", 1, 0)  # close() then sends a reset
Result = TypeVar("Result")


class Link:
    """One client's connection through the proxy, as a passage sees it. All methods run on the proxy's loop."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        broker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._client_reader, self._client = client
        self._broker_reader, self._broker = broker
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def addresses(self) -> tuple[Any, Any]:
        """The socket addresses of the client and of the broker."""
        return self._client.get_extra_info("peername"), self._broker.get_extra_info("peername")

    def to_client(self, octets: bytes) -> None:
        """Send octets to the client."""
        if octets and not self._client.is_closing():
            self._client.write(octets)

    def to_broker(self, octets: bytes) -> None:
        """Send octets to the broker."""
        if octets and not self._broker.is_closing():
            self._broker.write(octets)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` on the loop after a time, unless the connection has ended by then."""
        self._timers.append(asyncio.get_running_loop().call_later(seconds, action))

    def close(self) -> None:
        """Close both sides in an orderly way."""
        self._client.close()
        self._broker.close()

    def reset(self) -> None:
        """Reset both sides, as a crash would."""
        _reset(self._client)
        _reset(self._broker)

    async def run(self, passage: "Passage") -> None:
        """Pass bytes both ways until both sides have ended."""
        try:
            await asyncio.gather(
                self._pump(passage, "client", self._client_reader, self._client, self._broker),
                self._pump(passage, "broker", self._broker_reader, self._broker, self._client),
            )
        finally:
            for timer in self._timers:
                timer.cancel()
            passage.closed()
            self.close()

    @staticmethod
    async def _pump(
        passage: "Passage",
        side: str,
        reader: asyncio.StreamReader,
        source: asyncio.StreamWriter,
        sink: asyncio.StreamWriter,
    ) -> None:
        take = passage.from_client if side == "client" else passage.from_broker
        ended = passage.client_ended if side == "client" else passage.broker_ended
        try:
            while octets := await reader.read(CHUNK):
                take(octets)
                await passage.settle(side)
                with contextlib.suppress(ConnectionError):
                    await sink.drain()
            await passage.settle(side, ended=True)
            ended()
            if not sink.is_closing() and sink.can_write_eof():
                sink.write_eof()
            else:
                sink.close()
        except (ConnectionError, TimeoutError):
            _reset(sink)
            _reset(source)
        except OSError:
            sink.close()


class Passage:
    """What a connection does with the bytes that pass. This one changes nothing."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def from_client(self, octets: bytes) -> None:
        """Take octets that the client sent."""
        self.link.to_broker(octets)

    def from_broker(self, octets: bytes) -> None:
        """Take octets that the broker sent."""
        self.link.to_client(octets)

    def client_ended(self) -> None:
        """Learn that the client sends nothing more, before the broker is told."""

    def broker_ended(self) -> None:
        """Learn that the broker sends nothing more, before the client is told."""

    async def settle(self, source: str, *, ended: bool = False) -> None:
        """Return when the ``source`` ("client", "broker") may go on, or when its end may be passed on."""

    def closed(self) -> None:
        """Learn that both directions have ended."""


class Proxy:
    """One listening port in front of one target. Made by :meth:`ProxyLoop.proxy`."""

    def __init__(self, target: Target, passage: Callable[[Link], Passage]) -> None:
        self._upstream = target
        self._passage = passage
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def target(self) -> Target:
        """The target as clients reach it: through this proxy, in plain TCP."""
        return self._upstream.with_(host="127.0.0.1", port=self.port, tls=None)

    async def start(self, port: int) -> None:
        """Listen on loopback; ``port`` 0 takes a free one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        while self._links:  # again: what is cancelled while it reaches its goal may not notice the first time
            for task in self._links:
                task.cancel()
            await asyncio.wait(list(self._links), timeout=0.1)
        await asyncio.sleep(0)  # lets the transports that were closed end

    async def served(self, seconds: float) -> None:
        """Return when all that has been said was heard, by clients that are gone already; or after ``seconds``."""
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        if self._links:
            await asyncio.wait(list(self._links), timeout=seconds)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._links.add(task)
            task.add_done_callback(self._links.discard)
        try:
            broker = await self._connect()
        except (OSError, TimeoutError):
            _reset(writer)
            return
        except asyncio.CancelledError:  # the proxy ends while the broker is being reached
            writer.close()
            return
        for end in (writer, broker[1]):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link((reader, writer), broker)
        with contextlib.suppress(asyncio.CancelledError):
            await link.run(self._passage(link))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target = self._upstream
        context = tls_context(target) if target.tls else None
        async with asyncio.timeout(CONNECT_DEADLINE):  # wait_for may swallow a cancellation before Python 3.12
            return await asyncio.open_connection(
                target.host, target.port, ssl=context, server_hostname=target.host if context else None
            )


class ProxyLoop:
    """A thread with an event loop for any number of proxies. A context manager: leaving it ends them all."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="mqproof-proxy", daemon=True)
        self._proxies: list[Proxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for proxy in self._proxies:
            self._run(proxy.stop()).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def proxy(self, target: Target, passage: Callable[[Link], Passage] = Passage, *, port: int = 0) -> Proxy:
        """Return a listening proxy in front of ``target``. Raises OSError when the port is taken."""
        proxy = Proxy(target, passage)
        self._run(proxy.start(port)).result()
        self._proxies.append(proxy)
        return proxy

    def served(self, proxy: Proxy, seconds: float) -> None:
        """Return when a proxy has heard and passed on all that clients said who are gone; or after ``seconds``."""
        self._run(proxy.served(seconds)).result()

    def _run(self, work: Coroutine[Any, Any, Result]) -> "Future[Result]":
        return asyncio.run_coroutine_threadsafe(work, self.loop)


def _reset(writer: asyncio.StreamWriter) -> None:
    if writer.transport.is_closing():
        return
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    writer.transport.abort()
