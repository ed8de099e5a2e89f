"""Captures made to order, and their accounts."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import analyze
from mqproof.dissectors.packets.pcap import Packet, write_packets

Account = dict[str, Any]


@pytest.fixture
def account(tmp_path: Path) -> Callable[..., Account]:
    """Return the account of packets, as the walk makes it; the books are checked on the way."""

    def made(packets: Iterable[bytes], linktype: int = 1, cut: int = 1 << 20) -> Account:
        path = tmp_path / "capture.pcapng"
        kept = [Packet(i * 1000, data[:cut], len(data), linktype) for i, data in enumerate(packets)]
        write_packets(path, kept, linktype)
        return as_json(analyze(str(path)))

    return made
