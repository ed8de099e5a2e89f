"""TLS with a key log: tshark decrypts the streams, and they are walked like any others.

What was encrypted is written as a recording with made-up TCP/IP headers, into a folder of the owner's only, which is
removed; kinds, messages and topics are counted from it. The byte account stays that of the encrypted packets.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mqproof.dissectors.overhead.engine import analyze
from mqproof.dissectors.overhead.summary import Summary
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation, raw
from mqproof.dissectors.packets.pcap import MADE_UP_COMMENT, Writer
from mqproof.harness.oracle import OUT_OF_ORDER, OracleMissing

MAX_STREAMS: Final = 2000
DEADLINE: Final = 600.0  # seconds
LINKTYPE_RAW: Final = 101
_SEPARATOR = "==================================================================="
_FOLLOWED = re.compile(r"Filter: tcp\.stream eq (\d+)")


def decrypted(path: str, keylog: Path) -> tuple[Summary, int]:
    """Return the account of the decrypted streams of a capture, and how many there are. Raises OracleMissing."""
    if not keylog.is_file():
        raise OracleMissing(f"there is no key log {keylog}")
    with tempfile.TemporaryDirectory(prefix="mqproof-") as private:
        file = Path(private) / "decrypted.pcapng"
        count = 0
        with Writer(file, LINKTYPE_RAW, comment=MADE_UP_COMMENT) as writer:
            for said in _streams(path, keylog):
                talk = Conversation(("10.0.0.1", 1024 + count), ("10.0.0.2", 1), frame=raw)
                packets = talk.open()
                for side, octets in said:
                    packets += talk.say(side, octets, size=60000)
                for packet in [*packets, *talk.close()]:
                    writer.write(0, packet)
                count += 1
        return analyze(str(file)), count


def add(summary: Summary, path: str, keylog: Path) -> int:
    """Add what the decrypted streams hold to kinds, messages and keys; returns how many streams there are."""
    found, count = decrypted(path, keylog)
    for mine, theirs in ((summary.kinds, found.kinds), (summary.messages, found.messages)):
        mine[:] = [a + b for a, b in zip(mine, theirs, strict=True)]
    for key, figures in found.keys.items():
        if key in summary.keys:
            summary.keys[key].add(figures)
        else:
            summary.keys[key] = figures
    summary.other_keys.add(found.other_keys)
    return count


def _streams(path: str, keylog: Path) -> Iterator[list[tuple[int, bytes]]]:
    """Yield each TLS stream that could be decrypted: who said what."""
    printed = _tshark(path, keylog, "-Y", "tls.app_data", "-T", "fields", "-e", "tcp.stream")
    numbers = sorted(set(map(int, printed.split())))
    if len(numbers) > MAX_STREAMS:
        raise OracleMissing(f"{path} has {len(numbers)} TLS streams, more than the {MAX_STREAMS} that are decrypted")
    if not numbers:
        return
    asked = [part for number in numbers for part in ("-z", f"follow,tls,raw,{number}")]
    for text in _tshark(path, keylog, "-q", *asked).split(_SEPARATOR):
        said = []
        for line in text.splitlines():
            digits = line.strip()
            if digits and re.fullmatch(r"(?:[0-9a-f]{2})+", digits):
                said.append((BROKER if line.startswith("\t") else CLIENT, bytes.fromhex(digits)))
        if said:
            yield said


def _tshark(path: str, keylog: Path, *arguments: str) -> str:
    tool = shutil.which("tshark")
    if tool is None:
        raise OracleMissing("tshark is not installed, and it does the decrypting: apt-get install tshark")
    command = [tool, "-n", *OUT_OF_ORDER, "-o", f"tls.keylog_file:{keylog}", "-r", path, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    except subprocess.TimeoutExpired:
        raise OracleMissing(f"tshark takes more than {DEADLINE:.0f} s to decrypt {path}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it gives no reason"]
        raise OracleMissing(f"tshark cannot decrypt {path}: {said[-1]}")
    return done.stdout
