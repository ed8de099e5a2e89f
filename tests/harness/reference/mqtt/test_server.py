"""The broker on sockets: start and end, hostile clients, several brokers on one loop, and how fast it is."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from threading import Event

import paho.mqtt.client as paho
import pytest
from mqproof.dissectors.mqtt.codec import (
    Connack,
    Connect,
    Decoder,
    Disconnect,
    Pingreq,
    Pingresp,
    Publish,
    Subscribe,
    Subscription,
    encode,
)
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.reference.mqtt.limits import Limits
from mqproof.harness.reference.mqtt.server import LoopThread, main, start_in_thread

V5 = Version.V5_0


class Stream:
    """A client on a socket that reads packet by packet."""

    def __init__(self, port, version=V5):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.settimeout(60)
        self.version = version
        self._decoder = Decoder(version)

    def send(self, *packets):
        self.socket.sendall(b"".join(encode(packet, self.version) for packet in packets))

    def read(self):
        """The next packet, None at the end of the stream."""
        while (packet := self._decoder.next()) is None:
            data = self.socket.recv(65536)
            if not data:
                return None
            self._decoder.feed(data)
        return packet

    def close(self):
        self.socket.close()


def connected(port, client_id="a", **more):
    stream = Stream(port)
    stream.send(Connect(client_id, version=V5, **more))
    assert isinstance(stream.read(), Connack)
    return stream


@pytest.mark.parametrize("protocol", [paho.MQTTv311, paho.MQTTv5])
def test_paho_publishes_and_subscribes(serve, protocol):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="p", protocol=protocol)
    got, done = [], Event()

    def on_message(_client, _data, message):
        got.append((message.payload, message.qos))
        if len(got) == 3:
            done.set()

    client.on_connect = lambda *_: client.subscribe("t", 2)
    client.on_subscribe = lambda *_: [client.publish("t", b"%d" % qos, qos) for qos in range(3)]
    client.on_message = on_message
    client.connect("127.0.0.1", serve().port)
    client.loop_start()
    try:
        assert done.wait(60)
    finally:
        client.disconnect()
        client.loop_stop()
    assert sorted(got) == [(b"0", 0), (b"1", 1), (b"2", 2)]


def test_several_brokers_share_a_loop():
    thread = LoopThread()
    try:
        odd = frozenset({"will-lost"})
        with start_in_thread(loop=thread.loop) as one, start_in_thread(odd, loop=thread.loop) as two:
            assert one.port != two.port
            for handle in (one, two):
                with closing(connected(handle.port)) as stream:
                    stream.send(Pingreq())
                    assert stream.read() == Pingresp()
    finally:
        thread.stop()


def test_tls(serve, certificates):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    port = serve(tls=context).port
    trust = ssl.create_default_context(cafile=certificates / "ca.pem")
    with socket.create_connection(("127.0.0.1", port), 60) as plain:
        with trust.wrap_socket(plain, server_hostname="localhost") as stream:
            stream.sendall(encode(Connect("a", version=V5), V5))
            assert stream.recv(1) == b"\x20"
    with closing(Stream(port)) as stream:
        stream.send(Connect("a", version=V5))
        assert stream.socket.recv(100)[:1] in (b"", b"\x15")  # the end, or a TLS alert: no CONNACK


def test_stop_says_good_bye(serve):
    handle = serve()
    with closing(connected(handle.port)) as stream:
        handle.stop()
        handle.stop()
        goodbye = stream.read()
        assert isinstance(goodbye, Disconnect)
        assert goodbye.reason_code == 0x8B
        assert stream.read() is None


def test_stop_waits_for_nobody(serve):
    """A client that does not read cannot keep a broker from ending, and no socket stays behind."""
    handle = serve()
    with closing(connected(handle.port, "still")) as still, closing(connected(handle.port, "pub")) as publisher:
        still.send(Subscribe(1, (Subscription("t", 0),)))
        still.read()
        for _ in range(20):
            publisher.send(Publish("t", b"x" * 1_000_000))
        publisher.send(Pingreq())
        assert publisher.read() == Pingresp()
        handle.stop()
        assert not handle._server.clients


def test_unknown_defect_leaves_nothing_running():
    from threading import active_count

    before = active_count()
    with pytest.raises(ValueError, match="no such defect"):
        start_in_thread(frozenset({"nonsense"}))
    assert active_count() == before


def test_taken_port_is_an_error(serve, capsys):
    port = serve().port
    with pytest.raises(OSError, match="in use"):
        start_in_thread(port=port)
    assert main(["--port", str(port)]) == 2
    assert "in use" in capsys.readouterr().err


def test_as_a_process():
    command = [sys.executable, "-m", "mqproof.harness.reference.mqtt.server", "--user", "ann", "--password", "pw"]
    command += ["--ws-port", "0", "--receive-maximum", "5", "--retain-available", "false"]
    command += ["--connect-timeout", "5", "--server-keep-alive", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        ws, plain = process.stdout.readline().split(), process.stdout.readline().split()
        assert (ws[:2], plain[0]) == (["listening", "ws"], "listening")
        stream = Stream(int(plain[1].rpartition(":")[2]))
        with closing(stream):
            stream.send(Connect("a", user_name="ann", password=b"pw", version=V5))
            connack = stream.read()
            assert connack.reason_code == 0
            limits = {("receive_maximum", 5), ("retain_available", 0), ("server_keep_alive", 60)}
            assert limits <= set(connack.properties)
            process.send_signal(signal.SIGTERM)
            assert stream.read().reason_code == 0x8B
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_keep_alive_in_real_time(serve):
    with closing(connected(serve().port, keep_alive=1)) as stream:
        assert stream.read().reason_code == 0x8D
        assert stream.read() is None


def test_hostile_clients_do_not_disturb_others(serve):
    handle = serve()
    with closing(connected(handle.port, "witness")) as witness:
        for seed in range(200):
            with closing(Stream(handle.port)) as hostile:
                if seed % 2:
                    hostile.send(Connect(f"h{seed}", version=V5))
                hostile.socket.sendall(os.urandom(seed))
                hostile.socket.sendall(encode(Pingreq(), V5) * (seed % 3))
        witness.send(Pingreq())
        assert witness.read() == Pingresp()


def test_reader_that_stands_still_costs_bounded_memory(serve):
    """60 MB to somebody who does not read: the rest of the broker goes on, and QoS 0 is dropped."""
    handle = serve(limits=Limits(queue_octets=1 << 20))
    with closing(connected(handle.port, "still")) as still, closing(connected(handle.port, "pub")) as publisher:
        still.send(Subscribe(1, (Subscription("t", 0),)))
        still.read()
        for _ in range(60):
            publisher.send(Publish("t", b"x" * 1_000_000))
        publisher.send(Pingreq())
        assert publisher.read() == Pingresp()
        client = next(client for client in handle._server.clients if client.connection.peer.client_id == "still")
        assert client._transport.get_write_buffer_size() < 4 << 20
        assert handle.broker.sessions.get("still").outbox.octets < 3 << 20


def test_request_that_brings_far_more_than_it_costs(serve):
    """Some octets of SUBSCRIBE, repeated, bring all retained messages each time."""
    handle = serve(limits=Limits(queue_octets=1 << 20))
    with closing(connected(handle.port, "greedy")) as greedy, closing(connected(handle.port, "other")) as other:
        for number in range(20):
            other.send(Publish(f"t/{number}", b"x" * 500_000, retain=True))
        other.send(Pingreq())
        assert other.read() == Pingresp()
        greedy.send(*[Subscribe(1, (Subscription("t/#", 0),))] * 200)  # 2 GB
        other.send(Pingreq())
        assert other.read() == Pingresp()
        client = next(client for client in handle._server.clients if client.connection.peer.client_id == "greedy")
        assert client._transport.get_write_buffer_size() < 4 << 20


def test_flood_of_pings_by_somebody_who_does_not_read(serve):
    handle = serve()
    with closing(connected(handle.port, "still")) as still, closing(connected(handle.port, "other")) as other:
        still.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            still.socket.sendall(encode(Pingreq(), V5) * 50_000_000)
        other.send(Pingreq())
        assert other.read() == Pingresp()


def test_to_oneself_without_reading_meanwhile(serve):
    """A client that first writes everything and then reads must not be left hanging."""
    with closing(connected(serve().port)) as stream:
        stream.send(Subscribe(1, (Subscription("t", 0),)))
        stream.read()
        stream.send(*[Publish("t", b"x" * 1000)] * 20_000)
        assert [stream.read().payload for _ in range(20_000)] == [b"x" * 1000] * 20_000
