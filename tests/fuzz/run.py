"""Fuzzes the analyzer for a while: coverage-guided, with atheris.

    python tests/fuzz/run.py [--seconds N] [TARGET...]

Each target gets its share of the time. What is found (a crash, a hang, memory without bound) is written to
tests/fuzz/crashes/TARGET, which the tests replay; inputs that reached new code go to tests/fuzz/corpus/TARGET, from
where the next run starts. The exit code is 1 when something was found.
"""

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
SECONDS = 1800
HANG = 20  # seconds that one input may take
MEMORY = 2000  # MiB


def fuzz(name: str, arguments: list[str]) -> None:
    """Run one target in this process; never returns."""
    import atheris

    with atheris.instrument_imports(include=["mqproof.dissectors"]):
        from targets import TARGETS

    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


def start(name: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own. Returns whether nothing was found."""
    corpus, crashes = FOLDER / "corpus" / name, FOLDER / "crashes" / name
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}", "-max_len=4096"]
    options += [f"-artifact_prefix={crashes}/", "-print_final_stats=1", "-verbosity=0"]
    command = [sys.executable, __file__, "--one", name, "--", *options, str(corpus)]
    sys.stdout.write(f"{name}: {seconds} s\n")
    sys.stdout.flush()
    return subprocess.run(command, check=False).returncode == 0


def main() -> int:
    """Return the exit code: 1 when something was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for all targets together")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help="of: codec_amqp, codec_mqtt, reader, walk; all if none is named")
    known = parser.parse_args()
    if known.one:
        fuzz(known.one, known.targets)
    names = known.targets or ["codec_amqp", "codec_mqtt", "reader", "walk"]
    clean = [start(name, max(1, known.seconds // len(names))) for name in names]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
