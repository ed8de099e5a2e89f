"""``mqproof stability``: do repeated runs say the same?"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mqproof.harness.cli.codes import CONFORMS, DEVIATES, INTERRUPTED, USAGE
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.waiting import waiting
from mqproof.harness.cli.written import say, say_json
from mqproof.harness.printable import counted

if TYPE_CHECKING:
    from mqproof.harness.run import Run
    from mqproof.harness.stability import Stability, Way

HELP = """Run the suites several times on the same brokers, and show every verdict that differs.

After the repeats comes one run in random order, one with 8 workers and one with --quick. The run directories and
stability.json lie in --out; mqproof conformance reads both.

\b
Exit codes:
  0    the same verdicts every time
  1    verdicts differ
  2    wrong usage
  3    a target cannot be reached
  4    a run did not come to its end
  130  interrupted: the runs that ended are kept
"""
JUDGED = (0, 1, 5)  # exit codes of mqproof test that come with verdicts


class NotJudged(Exception):
    """A run that came to no verdicts: its exit code and its last line."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


def stability(
    targets: Annotated[list[str] | None, typer.Argument(metavar="TARGET", show_default=False)] = None,
    suite: Annotated[list[str] | None, typer.Option(help="Only the suite amqp, mqtt or recovery (repeatable).")] = None,
    runs: Annotated[int, typer.Option(min=2, help="How many repeats.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the run in random order.")] = 1,
    workers: Annotated[int, typer.Option(help="Worker processes; 0: as many as cores.", min=0)] = 0,
    patience: Annotated[float, typer.Option(help="Factor for every deadline.")] = 1.0,
    keyword: Annotated[str, typer.Option("-k", metavar="EXPR", help="Only tests that match, as in pytest.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="File whose first line is the password.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Authorities that verify the broker (TLS).")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify the broker's certificate.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the runs lie.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print stability.json.")] = False,
) -> None:
    """Repeat."""  # replaced by HELP
    from mqproof.harness.run import new_folder
    from mqproof.harness.stability import FILE, summed_up, ways

    words = targets or ["embedded"]
    options = [f"--suite={name}" for name in suite or []] + [f"--patience={patience}"]
    options += ["-k", keyword] if keyword else []
    options += [f"--password-file={password_file}"] if password_file else []
    options += [f"--ca-file={ca_file}"] if ca_file else []
    options += ["--insecure"] if insecure else []
    if out is not None and (out / FILE).exists():
        raise typer.Exit(fail(USAGE, f"--out {out} holds repeats already: name another folder"))
    folder = out or new_folder()
    try:
        found = _repeated([*words, *options], ways(runs, seed, workers), folder, quiet=as_json)
    except NotJudged as error:
        raise typer.Exit(fail(error.code, error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(fail(INTERRUPTED, "interrupted: the runs that ended are kept")) from None
    result = summed_up(found, _command(words, suite or [], runs, seed), os.cpu_count() or 1)
    result.save(folder)
    if as_json:
        say_json({**asdict(result), "is_stable": result.is_stable, "folder": str(folder)})
    else:
        _say(result, folder)
    raise typer.Exit(CONFORMS if result.is_stable else DEVIATES)


def _command(words: Sequence[str], suites: Sequence[str], runs: int, seed: int) -> str:
    """Return the command that repeats it, without a password."""
    from mqproof.harness.targets.target import redact

    named = [word for name in suites for word in ("--suite", name)]
    extra = ["--seed", str(seed)] if seed != 1 else []
    return shlex.join(["mqproof", "stability", *map(redact, words), *named, "--runs", str(runs), *extra])


def _repeated(
    arguments: list[str], plan: "Sequence[Way]", folder: Path, *, quiet: bool
) -> "list[tuple[Way, Run]]":
    from mqproof.harness.run import load
    from mqproof.harness.stability import repeat_of

    found = []
    width = max(len(way.name) for way in plan)
    for number, way in enumerate(plan, 1):
        where = folder / f"{number:02}"
        with waiting(f"{way.name}, {number} of {len(plan)}"):
            _run([*arguments, *_options(way), f"--out={where}"])
        run = load(where)
        repeat = repeat_of(way.name, run)
        verdicts = ", ".join(f"{count} {name}" for name, count in repeat.verdicts.items())
        if not quiet:
            say(f"{way.name:{width}}  {counted(repeat.tests, 'test')}  {repeat.seconds:5.1f} s  {verdicts}")
        found.append((way, run))
    return found


def _options(way: "Way") -> list[str]:
    options = [f"--workers={way.workers}"]
    options += ["--quick"] if way.quick else []
    return options if way.shuffle is None else [*options, f"--shuffle={way.shuffle}"]


def _run(arguments: list[str]) -> None:
    """Run ``mqproof test`` in a process of its own, as a user would. Raises NotJudged."""
    command = [sys.executable, "-m", "mqproof.harness.cli", "test", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            _, errors = process.communicate()
        except BaseException:
            process.terminate()  # it writes down what there is, and stops its brokers
            process.wait()  # Popen itself does not wait where it is interrupted
            raise
    if process.returncode not in JUDGED:
        line = (errors.strip().splitlines() or ["a run came to no verdicts"])[-1].removeprefix("mqproof: ")
        raise NotJudged(process.returncode if process.returncode > 0 else 4, line)


def _say(result: "Stability", folder: Path) -> None:
    for kind, differences in (("statement", result.statements), ("test", result.tests)):
        for row in differences:
            counts = ", ".join(f"{count} times {verdict}" for verdict, count in row.verdicts.items())
            say(f"{kind} {row.id} on {row.target}: {counts}")
    same = "the same verdicts every time" if result.is_stable else "verdicts differ, or a run is not complete"
    typer.echo(f"{counted(len(result.repeats), 'run')}: {same}; {folder}")


stability.__doc__ = HELP
