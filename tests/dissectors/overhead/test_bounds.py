"""What a walk remembers is bounded, and what the bound cost is said."""

import ipaddress
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import Connect, Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead import compiled
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import Plain, analyze
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.craft import CLIENT, Conversation
from mqproof.dissectors.packets.pcap import Packet, write_packets

Account = dict[str, Any]
Accounting = Callable[..., Account]
RESIDENT = 200 << 10  # KiB
# The system's own maximum (ru_maxrss) begins with what the parent had: a pytest process that has compiled has much.
PROGRAM = """
import sys
from mqproof.harness.cli.main import main
sys.argv = ["mqproof", "analyze", sys.argv[1], "--json"]
try:
    main()
finally:
    with open("/proc/self/status") as status:
        sys.stderr.write(next(line for line in status if line.startswith("VmHWM")))
"""


def connections(count: int, *, close: bool = False) -> Iterator[bytes]:
    """Yield the packets of so many connections, one after the other."""
    connect = mqtt.encode(Connect("me"), Version.V3_1_1)
    for number in range(count):
        talk = Conversation((str(ipaddress.ip_address(0x0A000000 + number)), 40000), ("172.16.0.1", 1883))
        yield from talk.open()
        yield from talk.say(CLIENT, connect)
        if close:
            yield from talk.reset()


def walked(path: Path, packets: Iterator[bytes]) -> Account:
    """Return the uncompiled walk's account: in the compiled one the bound is a constant."""
    write_packets(path, (Packet(i, data, len(data), 1) for i, data in enumerate(packets)), 1)
    return as_json(analyze(str(path), engine=Plain()))


def test_open_connections_beyond_the_bound_are_given_up_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(w, "MAX_CONNS", 300)
    result = walked(tmp_path / "many", connections(1000))
    assert result["tcp"]["connections"] == result["kinds"]["mqtt"]["CONNECT"]["count"] == 1000
    assert result["tcp"]["connections_given_up"] == 701  # one record stays free for the next packet


def test_closed_connections_make_room_for_others_without_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(w, "MAX_CONNS", 300)
    result = walked(tmp_path / "many", connections(1000, close=True))
    assert result["tcp"]["connections"] == 1000
    assert result["tcp"]["connections_given_up"] == 0


@pytest.mark.skipif(not compiled.available(), reason="numba is not installed")
def test_resident_memory_stays_under_its_bound(tmp_path: Path) -> None:
    """More open connections than there is room for: whatever comes after that makes it no larger."""
    compiled.load()  # compiling takes more memory than walking; only the first run has to
    path = tmp_path / "many"
    packets = (Packet(i, data, len(data), 1) for i, data in enumerate(connections(w.MAX_CONNS + 500)))
    write_packets(path, packets, 1)
    done = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=True)
    assert int(done.stderr.split()[-2]) < RESIDENT


@pytest.mark.parametrize("size", [1, 3, 64, 1460])
def test_keys_of_any_length_are_told_apart(account: Accounting, size: int) -> None:
    """Around the length where a key moves to another place, around the length up to which it is kept, and beyond."""
    lengths = (1, 63, 64, 65, 66, 300, 511, 512, 513, 700)
    talk = Conversation()
    packets = [*talk.open(), *talk.say(CLIENT, mqtt.encode(Connect("me"), Version.V3_1_1))]
    for length in (*lengths, *reversed(lengths)):
        topic = f"{length:t<{length}}"[:length]
        packets += talk.say(CLIENT, mqtt.encode(Publish(topic, b"x"), Version.V3_1_1), size=size)
    rows = account(packets)["topics"]["top"]
    assert sorted(len(row["topic"]) for row in rows) == sorted(min(length, w.KEY_OCTETS) for length in lengths)
    assert [row["published"] for row in rows] == [2] * len(lengths)
    assert sum(row.get("cut", False) for row in rows) == sum(length > w.KEY_OCTETS for length in lengths)
