"""A raw connection for the first words with a target: deadlines on every step, and errors that name the cause."""

import socket
import ssl
from typing import Self

from mqproof.harness.targets.deadline import Deadline
from mqproof.harness.targets.errors import Silent, TlsFailed, Unreachable, WrongProtocol
from mqproof.harness.targets.target import Target
from mqproof.harness.targets.websocket import BINARY, CONTINUATION, WebRefused, WebStream, frame

CHUNK = 65536


class Talk:
    """One connection to ``target``, by TCP, TLS or WebSocket, that is over at the deadline.

    Raises Unreachable, TlsFailed, Silent or WrongProtocol where it does not come to stand.
    """

    def __init__(self, target: Target, deadline: Deadline) -> None:
        self.target = target
        self.deadline = deadline
        self.first_octets = b""  # what the server said first: it betrays what the server is
        self._web: WebStream | None = None
        raw = _connect(target, deadline)
        try:
            self.socket = _secure(raw, target, deadline) if target.tls else raw
            if target.path is not None:
                self._web = self._open_web(WebStream(f"{target.host}:{target.port}", target.path))
        except BaseException:
            raw.close()
            raise

    def send(self, octets: bytes) -> None:
        """Send; a server that has gone is noticed by the next ``receive``."""
        self._send(octets if self._web is None else frame(BINARY, octets))

    def receive(self) -> bytes:
        """Return the next octets, none at the connection's end. Raises TimeoutError at the deadline."""
        octets = self._receive() if self._web is None else self._receive_web(self._web)
        self.first_octets = (self.first_octets + octets)[:64] if len(self.first_octets) < 64 else self.first_octets
        return octets

    def _open_web(self, stream: WebStream) -> WebStream:
        where = f"{self.target.redacted_url}: "
        self._send(stream.request)
        try:
            while not stream.is_open and (octets := self._receive()):
                stream.feed(octets)
        except TimeoutError:
            raise Silent(f"{where}the server says nothing to a WebSocket: does this port serve it?") from None
        except WebRefused as refused:
            raise WrongProtocol(f"{where}the server opens no WebSocket: {refused}; check port and path") from None
        if not stream.is_open:
            raise WrongProtocol(f"{where}the server closes a WebSocket without a word: check port and path")
        return stream

    def _receive_web(self, stream: WebStream) -> bytes:
        while True:
            while (got := stream.next()) is not None:
                if got.opcode in (BINARY, CONTINUATION) and got.payload:
                    return got.payload
            octets = self._receive()
            if not octets:
                return b""
            stream.feed(octets)

    def _send(self, octets: bytes) -> None:
        self.socket.settimeout(max(self.deadline.left, 0.001))
        try:
            self.socket.sendall(octets)
        except OSError:
            pass

    def _receive(self) -> bytes:
        self.socket.settimeout(max(self.deadline.left, 0.001))
        try:
            return self.socket.recv(CHUNK)
        except TimeoutError:
            raise
        except OSError:
            return b""

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


def _connect(target: Target, deadline: Deadline) -> socket.socket:
    where = f"{target.redacted_url}: "
    try:
        raw = socket.create_connection((target.host, target.port), timeout=max(deadline.left, 0.001))
    except socket.gaierror:
        raise Unreachable(f"{where}no host is called {target.host!r}: check the name") from None
    except ConnectionRefusedError:
        raise Unreachable(
            f"{where}nothing listens on port {target.port} of {target.host}: does the broker run, is this its port?"
        ) from None
    except TimeoutError:
        raise Unreachable(
            f"{where}{target.host} does not answer on port {target.port}: check the address and the firewall"
        ) from None
    except (OSError, UnicodeError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise Unreachable(f"{where}no connection ({reason}): check the address") from None
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return raw


def _secure(raw: socket.socket, target: Target, deadline: Deadline) -> ssl.SSLSocket:
    where = f"{target.redacted_url}: "
    context = _context(target)
    raw.settimeout(max(deadline.left, 0.001))
    try:
        return context.wrap_socket(raw, server_hostname=target.host)
    except TimeoutError:
        raise Silent(f"{where}the server says nothing in the TLS handshake: does this port speak TLS?") from None
    except ssl.SSLCertVerificationError as problem:
        reason = problem.verify_message.rstrip(".")
        raise TlsFailed(
            f"{where}the server's certificate cannot be trusted ({reason}): name its authority with --ca-file FILE, "
            "or do without verification with --insecure"
        ) from None
    except (ssl.SSLError, OSError) as problem:
        raise TlsFailed(
            f"{where}the TLS handshake failed ({_reason(problem)}): does this port speak TLS? "
            f"Without TLS the URL begins with {target.scheme[:-1]}://"
        ) from None


def _context(target: Target) -> ssl.SSLContext:
    assert target.tls is not None
    from mqproof.harness.wires.base import tls_context

    try:
        return tls_context(target)
    except OSError as problem:  # also what is not PEM: SSLError is an OSError
        reason = "it is not a PEM file with certificates" if isinstance(problem, ssl.SSLError) else problem.strerror
        raise TlsFailed(f"{target.redacted_url}: cannot use {target.tls.ca_file} as --ca-file: {reason}") from None


def _reason(problem: OSError) -> str:
    if isinstance(problem, ssl.SSLError) and problem.reason:
        return problem.reason.replace("_", " ").lower()
    return (problem.strerror or "the server closed the connection").lower()
