"""The broker on real sockets: as a process, in a thread, under pika, and with clients that mean it no good."""

import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator

import pika
import pika.exceptions
import pytest
from mqproof.dissectors.amqp.codec import Decoder, Frame, encode, method
from mqproof.dissectors.amqp.tables import PROTOCOL_HEADER
from mqproof.harness.reference.amqp import server as server_module
from mqproof.harness.reference.amqp.broker import Settings
from mqproof.harness.reference.amqp.server import Handle, loop_in_thread, main, start_in_thread

HEADER_REPLY = b"AMQP\0\0\x09\x01"


@pytest.fixture
def handle() -> Iterator[Handle]:
    handle = start_in_thread()
    yield handle
    handle.stop()


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def until(sock: socket.socket, name: str) -> Frame:
    """Read frames until a method of this name."""
    decoder = Decoder()
    while True:
        frame = decoder.next()
        if frame is None:
            data = sock.recv(65536)
            assert data, f"the socket was closed before {name}"
            decoder.feed(data)
        elif getattr(frame, "name", None) == name:
            return frame


def log_in(port: int) -> socket.socket:
    sock = dial(port)
    sock.sendall(PROTOCOL_HEADER)
    until(sock, "connection.start")
    sock.sendall(encode(method("connection.start-ok", 0, mechanism="PLAIN", response=b"\0guest\0guest")))
    until(sock, "connection.tune")
    sock.sendall(encode(method("connection.tune-ok", 0)) + encode(method("connection.open", 0, virtual_host="/")))
    until(sock, "connection.open-ok")
    sock.sendall(encode(method("channel.open", 1)))
    until(sock, "channel.open-ok")
    return sock


def rest(sock: socket.socket) -> bytes:
    """Read until the orderly end; a reset would raise."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def parameters(handle: Handle, **options: object) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(port=handle.port, **options)


def test_pika_publishes_consumes_and_confirms(handle):
    with pika.BlockingConnection(parameters(handle)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        properties = pika.BasicProperties(headers={"a": [1, {"b": None}]}, delivery_mode=2)
        channel.basic_publish("", queue, bytes(300_000), properties, mandatory=True)
        with pytest.raises(pika.exceptions.UnroutableError):
            channel.basic_publish("", "nowhere", b"", mandatory=True)
        deliver, got, body = next(channel.consume(queue, inactivity_timeout=10))
        assert (got.headers, got.delivery_mode, body) == (properties.headers, 2, bytes(300_000))
        channel.basic_ack(deliver.delivery_tag)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
            connection.channel().queue_declare("none", passive=True)
        assert closed.value.reply_code == 404


@pytest.mark.parametrize("user", ["guest", "intruder"])
def test_pika_sees_why_a_login_is_refused(handle, user):
    credentials = pika.PlainCredentials(user, "wrong")
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(parameters(handle, credentials=credentials))


def test_port_is_below_the_ephemeral_range(handle):
    assert 1024 < handle.port < 32768
    assert handle.host == "127.0.0.1"


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000, b"AMQP\0\0\x08\0" + bytes(100_000)])
def test_other_protocols_get_the_header_and_an_orderly_end(handle, sent):
    with dial(handle.port) as sock:
        sock.sendall(sent)
        assert rest(sock) == HEADER_REPLY


def test_fatal_frame_gets_an_orderly_end(handle):
    with log_in(handle.port) as sock:
        sock.sendall(b"\x08\0\0\0\0\0\0\xcd" + bytes(100_000))
        assert rest(sock) == b""


def test_half_closed_client_still_gets_its_answers(handle):
    with log_in(handle.port) as sock:
        sock.sendall(encode(method("queue.declare", 1, queue="q")) + encode(method("connection.close", 0)))
        sock.shutdown(socket.SHUT_WR)
        decoder = Decoder()
        decoder.feed(rest(sock))
        assert [decoder.next().name, decoder.next().name] == ["queue.declare-ok", "connection.close-ok"]


def test_vanished_client_leaves_its_messages(handle):
    with log_in(handle.port) as sock, pika.BlockingConnection(parameters(handle)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("q")
        sock.sendall(encode(method("basic.consume", 1, queue="q")))
        until(sock, "basic.consume-ok")
        channel.basic_publish("", "q", b"m")
        until(sock, "basic.deliver")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()  # a reset
        deliver, _, body = next(channel.consume("q", inactivity_timeout=10))
        assert (deliver.redelivered, body) == (True, b"m")


def test_client_that_never_reads_is_not_heard_any_more(handle, monkeypatch):
    """Replies that nobody takes are bounded: their author is not read from, and others go on."""
    monkeypatch.setattr(server_module, "_READ_LIMIT", 100_000)
    with pika.BlockingConnection(parameters(handle)) as connection, log_in(handle.port) as sock:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("q")
        for _ in range(50):
            channel.basic_publish("", "q", bytes(1_000_000))
        sock.setblocking(False)
        greedy = encode(method("basic.get", 1, queue="q", no_ack=True)) * 50
        sock.send(greedy)
        for _ in range(5):
            channel.basic_publish("", "other", b"x")  # a round trip, and so turns of the loop
        links = list(handle.server.links)
        waiting = sum(link._transport.get_write_buffer_size() for link in links)
        assert waiting < 60_000_000
        sock.setblocking(True)
        decoder, got = Decoder(), 0
        while got < 50:
            decoder.feed(sock.recv(1 << 20))
            while (frame := decoder.next()) is not None:
                got += getattr(frame, "name", "") == "basic.get-ok"


def test_alarm_blocks_and_clears_through_the_handle(handle):
    with pika.BlockingConnection(parameters(handle)) as connection:
        seen = []
        connection.add_on_connection_blocked_callback(lambda _, frame: seen.append(frame.method.reason))
        connection.add_on_connection_unblocked_callback(lambda _, frame: seen.append("free"))
        channel = connection.channel()
        channel.queue_declare("q")
        handle.raise_alarm("tight")
        with pika.BlockingConnection(parameters(handle)) as other:
            other.channel().queue_declare("p")  # the alarm is up when this is answered
            channel.basic_publish("", "q", b"m")
            while not seen:
                connection.process_data_events(1)
            handle.clear_alarm()
            while len(seen) < 2:
                connection.process_data_events(1)
        assert seen == ["tight", "free"]
        assert channel.queue_declare("q", passive=True).method.message_count == 1


def test_several_brokers_share_a_loop_and_are_separate():
    loop, thread = loop_in_thread()
    handles = [start_in_thread(loop=loop) for _ in range(3)]
    with pika.BlockingConnection(parameters(handles[0])) as connection:
        connection.channel().queue_declare("q")
        with pika.BlockingConnection(parameters(handles[1])) as other:
            with pytest.raises(pika.exceptions.ChannelClosedByBroker):
                other.channel().queue_declare("q", passive=True)
            handles[0].stop()
            other.channel().queue_declare("q")
        with pytest.raises(pika.exceptions.AMQPError):
            connection.channel()
    for handle in handles:
        handle.stop()
        with pytest.raises(ConnectionRefusedError):
            dial(handle.port)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    assert not thread.is_alive()
    handles[0].stop()


def test_stop_ends_the_thread():
    handle = start_in_thread()
    owned = handle._owned
    with log_in(handle.port):
        handle.stop()
    assert owned is not None
    assert not owned.is_alive()
    handle.stop()


def test_unknown_defects_and_taken_ports_are_told():
    with pytest.raises(ValueError, match="no-such"):
        start_in_thread({"no-such"})
    handle = start_in_thread()
    with pytest.raises(OSError, match="in use"):
        start_in_thread(port=handle.port)
    handle.stop()


def test_defects_of_the_handle_reach_the_broker():
    handle = start_in_thread({"no-default-binding"})
    with pika.BlockingConnection(parameters(handle)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("q")
        with pytest.raises(pika.exceptions.UnroutableError):
            channel.basic_publish("", "q", b"m", mandatory=True)
    handle.stop()


def test_settings_of_the_handle_reach_the_broker():
    handle = start_in_thread(settings=Settings(users={"me": "secret"}, heartbeat=7))
    with pika.BlockingConnection(parameters(handle, credentials=pika.PlainCredentials("me", "secret"))) as connection:
        connection.channel()
    handle.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_program_says_where_it_listens_and_ends_when_asked(number):
    command = [sys.executable, "-m", "mqproof.harness.reference.amqp.server", "--user", "me", "--password", "pw"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            word, _, address = process.stdout.readline().strip().partition(" ")
            host, _, port = address.partition(":")
            assert (word, host) == ("listening", "127.0.0.1")
            options = pika.ConnectionParameters(port=int(port), credentials=pika.PlainCredentials("me", "pw"))
            with pika.BlockingConnection(options) as connection:
                connection.channel().queue_declare("q")
            process.send_signal(number)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_program_says_in_one_line_why_it_cannot_start(handle, capfd):
    assert main(["--port", str(handle.port)]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cannot start the reference broker: ")
    assert captured.err.count("\n") == 1


def test_tls(certificates):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    handle = start_in_thread(tls=context)
    trust = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    options = pika.SSLOptions(trust, "localhost")
    with pika.BlockingConnection(parameters(handle, ssl_options=options)) as connection:
        connection.channel().queue_declare("q")
    with trust.wrap_socket(dial(handle.port), server_hostname="localhost") as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert rest(sock) == HEADER_REPLY
    handle.stop()
