"""How fast the analyzer is, against tshark, scapy, pyshark and dpkt, on the same machine in the same run.

    python tests/benchmarks/bench_analyze.py [PACKETS]

Each tool runs as a process of its own; CPU seconds are those of the process and its children. The slow ones get a
shorter capture of the same kind; the table gives packets per CPU second for all, and the ratio to ours. Below it: our
walk in process beside merely reading the same file from the page cache.
"""

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from make_capture import write

PACKETS = 2_000_000
SHORT = 20_000  # for tools that would take minutes
MIDDLE = 75_000  # about 30 MB, to see that memory does not grow with the file
OURS = "import sys; from mqproof.harness.cli.main import main; main()"
SCAPY = (
    "import sys\nfrom scapy.utils import PcapReader\nimport scapy.layers.l2\nimport scapy.layers.inet\n"
    "for packet in PcapReader(sys.argv[1]): pass"
)
PYSHARK = "import sys, pyshark\nfor packet in pyshark.FileCapture(sys.argv[1], keep_packets=False): pass"
DPKT = (
    "import sys, dpkt\nfor _, data in dpkt.pcap.Reader(open(sys.argv[1], 'rb')):\n"
    "    packet = dpkt.ethernet.Ethernet(data)\n    octets = packet.data.data.data"
)
READ = (
    "import sys\nbuffer = bytearray(4 << 20)\nfile = open(sys.argv[1], 'rb', buffering=0)\n"
    "while file.readinto(buffer): pass"
)
IN_PROCESS = (
    "import sys, time\nfrom mqproof.dissectors.overhead.compiled import Compiled\n"
    "from mqproof.dissectors.overhead.engine import analyze\nengines = [Compiled() for _ in range(3)]\n"
    "buffer = bytearray(4 << 20)\n\ndef read():\n    with open(sys.argv[1], 'rb', buffering=0) as file:\n"
    "        while file.readinto(buffer): pass\n\ndef best(calls):\n    seconds = []\n    for call in calls:\n"
    "        start = time.perf_counter()\n        call()\n        seconds.append(time.perf_counter() - start)\n"
    "    return min(seconds)\n\nreading = best([read] * 3)\n"
    "ours = best([lambda e=e: analyze(sys.argv[1], engine=e) for e in engines])\n"
    "print(f'in process: {ours:.2f} s, reading {reading:.2f} s, ratio {ours / reading:.1f}')"
)
TSHARK = ["tshark", "-n", "-o", "tcp.reassemble_out_of_order:TRUE", "-T", "fields"]
TSHARK += ["-e", "mqtt.msgtype", "-e", "amqp.type"]


@dataclass
class Result:
    """One tool's run; seconds are CPU seconds, memory the peak in MiB."""

    name: str
    packets: int
    cpu: float
    wall: float
    memory: float

    @property
    def rate(self) -> float:
        """Packets per CPU second."""
        return self.packets / self.cpu


def run(name: str, packets: int, *command: str) -> Result:
    """Run a command and measure it with its children."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed with exit code {process.returncode}")
    wall = time.perf_counter() - start
    return Result(name, packets, usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def python(name: str, packets: int, program: str, *arguments: str) -> Result:
    """Run a Python program."""
    return run(name, packets, sys.executable, "-c", program, *arguments)


def measure(folder: Path, count: int) -> list[Result]:
    """Make the captures and run everything."""
    large, short = folder / "large.pcap", folder / "short.pcap"
    write(large, count)
    write(short, SHORT)
    middle = folder / "middle.pcap"
    write(middle, MIDDLE)
    python("", 1, "from mqproof.dissectors.overhead.compiled import load; load()")  # not part of what is measured
    results = [
        python("mqproof analyze", count, OURS, "analyze", str(large), "--json"),
        python("mqproof analyze, middle capture", MIDDLE, OURS, "analyze", str(middle), "--json"),
        python("mqproof analyze, short capture", SHORT, OURS, "analyze", str(short), "--json"),
        python("reading the file", count, READ, str(large)),
        python("scapy PcapReader", SHORT, SCAPY, str(short)),
    ]
    if importlib.util.find_spec("dpkt"):
        results.append(python("dpkt, no streams", SHORT, DPKT, str(short)))
    if shutil.which("tshark"):
        results.append(run("tshark -T fields", count, *TSHARK, "-r", str(large)))
    if shutil.which("tshark") and importlib.util.find_spec("pyshark"):
        results.append(python("pyshark", SHORT // 10, PYSHARK, str(_shorter(folder))))
    return results


def _shorter(folder: Path) -> Path:
    path = folder / "shorter.pcap"
    write(path, SHORT // 10)
    return path


def table(results: list[Result]) -> str:
    """Return the results as a Markdown table; ratios are of packets per CPU second."""
    ours = results[0]
    lines = ["| tool | packets | CPU s | wall s | MiB | packets per CPU s | ours is |", "|---|" + "---:|" * 6]
    for result in results:
        ratio = ours.rate / result.rate
        lines.append(
            f"| {result.name} | {result.packets:,} | {result.cpu:.2f} | {result.wall:.2f} | {result.memory:.0f} "
            f"| {result.rate:,.0f} | {ratio:,.{0 if ratio >= 10 else 1}f} x |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as made:
        sys.stdout.write(table(measure(Path(made), int(sys.argv[1]) if len(sys.argv) > 1 else PACKETS)) + "\n")
        sys.stdout.flush()
        subprocess.run([sys.executable, "-c", IN_PROCESS, str(Path(made) / "large.pcap")], check=True)
