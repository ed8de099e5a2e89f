"""A failed test's conversations as a capture: what a reader of captures finds in it is what was said."""

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import Connack, Connect, Disconnect
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.impact_traffic import Traffic
from mqproof.harness.reporting.slices import MOST_OCTETS, _last_said, slice_of
from mqproof.harness.wires.base import Line, Transcript


def transcript(started: float, *lines: tuple[float, str, bytes]) -> Transcript:
    return Transcript("wire", [Line(time, direction, octets, "") for time, direction, octets in lines], started)


def read(octets: bytes, tmp_path) -> list:
    (tmp_path / "slice.pcapng").write_bytes(octets)
    return list(Traffic(tmp_path / "slice.pcapng"))


def test_two_conversations_are_two_connections_in_the_order_of_time(tmp_path):
    first, second = Connect("a", version=Version.V3_1_1), Connect("b", version=Version.V3_1_1)
    version = Version.V3_1_1
    one = transcript(10.0, (0.0, ">", mqtt.encode(first, version)), (0.4, ">", mqtt.encode(Disconnect(), version)))
    answer = mqtt.encode(Connack(), version)
    two = transcript(10.1, (0.0, ">", mqtt.encode(second, version)), (0.2, "<", answer), (0.3, "!", b""))
    said = read(slice_of([one, two], "mqtt", ()), tmp_path)
    assert [(entry.connection, entry.from_client, entry.frame) for entry in said] == [
        (1, True, first), (2, True, second), (2, False, Connack()), (1, True, Disconnect()),
    ]  # fmt: skip


def test_a_long_frame_is_cut_into_segments_and_found_again(tmp_path):
    frames = amqp.content("basic.publish", body=b"x" * 5000, exchange="e")
    octets = b"AMQP\0\0\x09\x01" + b"".join(map(amqp.encode, frames))
    said = read(slice_of([transcript(0.0, (0.0, ">", octets))], "amqp", ()), tmp_path)
    assert [entry.frame for entry in said][1:] == frames


def test_secrets_are_masked_and_the_size_is_bounded(tmp_path):
    lines = [(float(n), ">", b"5ecret" + bytes(60_000)) for n in range(10)]
    octets = slice_of([transcript(0.0, *lines)], "mqtt", ("5ecret",))
    assert b"5ecret" not in octets
    assert len(octets) < MOST_OCTETS * 1.2


class Measured(bytes):
    """Octets that count how often their length is asked for."""

    asked = 0

    def __len__(self) -> int:
        Measured.asked += 1
        return super().__len__()


def test_each_line_of_a_long_conversation_is_measured_once_to_bound_the_slice():
    """A queue that is looked at for five seconds is ten thousand lines; to sum them up for each took minutes."""
    lines = [Line(float(number), ">", Measured(1000), "") for number in range(2000)]
    Measured.asked = 0
    kept = _last_said(Transcript("wire", lines, 0.0))
    assert kept == lines[-(MOST_OCTETS // 1000) :]
    assert Measured.asked <= len(lines)


def test_nothing_said_is_no_capture():
    assert slice_of([transcript(0.0, (0.0, "!", b""))], "amqp", ()) == b""
