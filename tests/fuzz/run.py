"""Fuzzes the analyzer: codecs, reader and walk guided by coverage, the compiled walk on torn golden captures.

    python tests/fuzz/run.py [--seconds N] [--minimise] [TARGET...]

Each target gets its share of the time, the compiled walk (golden) twice the others'. What is found (a crash, a hang,
memory without bound, a wrong account) is written to tests/fuzz/crashes/TARGET, which the tests replay; inputs that
reached new code go to tests/fuzz/corpus/TARGET, from where the next run starts; --minimise keeps of them the smallest
set that reaches as much. The exit code is 1 when something was found.
"""

import argparse
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
SECONDS = 1800
HANG = 20  # seconds that one input may take
MEMORY = 2000  # MiB
GUIDED = ("codec_amqp", "codec_mqtt", "reader", "walk")
SHARES = {**dict.fromkeys(GUIDED, 1), "golden": 2}
AGAIN = "MQPROOF_FUZZ_AGAIN"  # the program by which libFuzzer starts a target again, which merging needs
EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Result:
    """What a target came to; ``executed``: inputs; ``cpu``: seconds that the processor gave it."""

    name: str
    executed: int
    seconds: float
    cpu: float
    clean: bool


def fuzz(name: str, arguments: list[str]) -> None:
    """Run one guided target in this process; never returns."""
    import atheris

    with atheris.instrument_imports(include=["mqproof.dissectors"]):
        from targets import TARGETS

    atheris.Setup([os.environ.get(AGAIN, sys.argv[0]), *arguments], TARGETS[name])
    atheris.Fuzz()


def guided(name: str, *options: str) -> list[str]:
    """Return the command of a guided target."""
    return [sys.executable, __file__, "--one", name, "--", f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}", *options]


def command_of(name: str, seconds: int) -> list[str]:
    """Return the command that fuzzes a target for so long."""
    if name == "golden":
        return [sys.executable, str(FOLDER / "golden.py"), str(seconds)]
    corpus, crashes = FOLDER / "corpus" / name, FOLDER / "crashes" / name
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", "-max_len=4096", f"-artifact_prefix={crashes}/", "-print_final_stats=1"]
    return guided(name, *options, "-verbosity=0", str(corpus))


def environment() -> dict[str, str]:
    """Return one in which machine code checks the bounds of arrays, and is kept apart from that which does not."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return {**os.environ, "NUMBA_BOUNDSCHECK": "1", "XDG_CACHE_HOME": f"{cache}/mqproof-fuzz"}


def start(name: str, seconds: int) -> Result:
    """Fuzz one target in a process of its own."""
    sys.stdout.write(f"{name}: {seconds} s\n")
    sys.stdout.flush()
    begun, before = time.monotonic(), used()
    with subprocess.Popen(
        command_of(name, seconds), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        executed = 0
        for line in process.stdout:
            found = EXECUTED.search(line)
            executed = int(found[1]) if found else executed
            sys.stdout.write(line)
            sys.stdout.flush()
    if process.returncode and name == "golden":
        keep_last()
    return Result(name, executed, time.monotonic() - begun, used() - before, process.returncode == 0)


def used() -> float:
    """Return the processor's seconds that ended processes of ours took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def keep_last() -> None:
    """The compiled walk crashed or hung: keep the input that it was given last."""
    from golden import SEED, keep

    if SEED.exists():
        sys.stdout.write(f"golden: kept {keep(int.from_bytes(SEED.read_bytes()))}\n")


def minimise(name: str) -> None:
    """Keep of a target's corpus the smallest set that reaches as much code."""
    corpus = FOLDER / "corpus" / name
    with tempfile.TemporaryDirectory() as folder:
        kept, again = Path(folder) / "kept", Path(folder) / "again"
        kept.mkdir()
        again.write_text(f'#!/bin/sh\nexec {shlex.join(guided(name))} "$@"\n')
        again.chmod(0o700)
        command = guided(name, "-merge=1", "-verbosity=0", str(kept), str(corpus))
        subprocess.run(command, check=True, env={**environment(), AGAIN: str(again)})
        files = {path.name: path.read_bytes() for path in kept.iterdir()}
        if not files:
            raise SystemExit(f"{name}: nothing is left of the corpus; it stays as it was")
        for path in corpus.iterdir():
            path.unlink()
        for file, octets in files.items():
            (corpus / file).write_bytes(octets)
    sys.stdout.write(f"{name}: {len(files)} inputs, {sum(map(len, files.values()))} octets\n")


def main() -> int:
    """Return the exit code: 1 when something was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for all targets together")
    parser.add_argument("--minimise", action="store_true", help="make the kept corpora small, and nothing else")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help=f"of: {', '.join(SHARES)}; all if none is named")
    known = parser.parse_args()
    if known.one:
        fuzz(known.one, known.targets)
    names = known.targets or list(SHARES)
    if known.minimise:
        for name in set(names) & set(GUIDED):
            minimise(name)
        return 0
    share = known.seconds / sum(SHARES[name] for name in names)
    results = [start(name, max(1, round(share * SHARES[name]))) for name in names]
    sys.stdout.write(f"\n{'target':<12}{'inputs':>12}{'seconds':>10}{'CPU s':>8}{'a CPU s':>10}\n")
    for each in results:
        found = "" if each.clean else "   something was found: see above"
        figures = f"{each.executed:>12,}{each.seconds:>10.0f}{each.cpu:>8.0f}{each.executed / max(each.cpu, 1):>10,.0f}"
        sys.stdout.write(f"{each.name:<12}{figures}{found}\n")
    return 0 if all(each.clean for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
