"""``mqproof faults``: the proof that the tests can fail."""

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from mqproof.harness.cli.codes import CONFORMS, DEVIATES, INTERNAL, NOTHING, UNREACHABLE, USAGE
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.helping import Command
from mqproof.harness.printable import counted

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Prove that the suites can fail: break one promise at a time and see which tests notice.",
)
RUN_HELP = """Run each fault against the tests that claim what it breaks.

\b
Exit codes:
  0    every fault is killed, none is overbroad, and every test kills one
       (the last is left out with --fault)
  1    otherwise
  2    wrong usage, or no such fault
  3    a target cannot be reached
  4    internal error
  5    nothing ran
"""
SUITES = ["mqproof.suites.amqp", "mqproof.suites.mqtt"]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run and print. ``form``: ``table``, ``json`` or ``markdown``."""

    patience: float
    form: str
    insecure: bool
    workers: int
    thorough: bool


@app.command("list", cls=Command)
def list_faults(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As the page docs/faults.md.")] = False,
) -> None:
    """List the faults: name, what it does, the statements that it breaks."""
    from mqproof.harness.saboteur.core import FAULTS
    from mqproof.harness.saboteur.running import load_faults

    load_faults()
    if as_json:
        rows = [{"fault": spec.name, "says": spec.says, "statements": spec.statements} for spec in FAULTS.values()]
        typer.echo(json.dumps(rows, indent=1))
        return
    if as_markdown:
        from mqproof.harness.saboteur.markdown import faults_page

        typer.echo(faults_page(FAULTS.values()), nl=False)
        return
    for spec in FAULTS.values():
        typer.echo(f"{spec.name}: {spec.says}\n    breaks {', '.join(spec.statements)}")


@app.command("run", cls=Command, help=RUN_HELP)
def run(
    target: Annotated[list[str] | None, typer.Option(help="A broker's URL or name (repeatable).")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="Only this fault (repeatable).")] = None,
    patience: Annotated[float, typer.Option(help="Factor for every deadline.")] = 0.2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print it as docs/kill-table.md.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify the broker's certificate.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="Also tests that would prove nothing more.")] = False,
    workers: Annotated[
        int, typer.Option(min=1, show_default=False, help="Processes; two per core by default, as most of them wait.")
    ] = 2 * (os.cpu_count() or 1),
) -> None:
    """Run."""  # RUN_HELP is shown
    from mqproof.harness.saboteur.running import UnknownFault
    from mqproof.harness.targets.errors import TargetError
    from mqproof.harness.targets.target import BadTarget

    try:
        form = "json" if as_json else "markdown" if as_markdown else "table"
        code = _run(target or ["embedded"], fault or [], Options(patience, form, insecure, workers, thorough))
    except (UnknownFault, BadTarget) as error:
        code = fail(USAGE, error)
    except TargetError as error:
        code = fail(UNREACHABLE, error)
    raise typer.Exit(code)


def _run(targets: list[str], names: list[str], options: Options) -> int:
    from mqproof.harness.saboteur import running
    from mqproof.harness.saboteur.kill_table import explanations, tabulate
    from mqproof.harness.targets.opening import open_all
    from mqproof.harness.targets.target import Tls

    faults = [spec.name for spec in running.chosen_faults(names)]
    with ExitStack() as resources:
        bases = open_all(targets, resources, tls=Tls(insecure=True) if options.insecure else None)
        quick = [f"--mqproof-patience={options.patience}", "-m", "not slow"]
        parts = running.in_parts(running.Shard(bases, faults, SUITES, quick, options.thorough), options.workers)
        waiting = running.Shard(bases, faults, SUITES, ["-m", "slow"], options.thorough)  # on real time, all together
        done = running.together(running.run_sharded([waiting, *parts], options.workers + 1, _progress))
    if done.errors:
        return fail(INTERNAL, "; ".join(done.errors))
    if not done.records:
        return fail(NOTHING, "no test claims a statement that these faults break")
    table = tabulate(done.ran, done.records, done.sanity, explanations(bases))
    if names:  # then most tests met no fault
        table.immortal.clear()
    elif any(base.driver != "embedded" for base in bases):  # before which defects of the embedded brokers cannot stand
        table.elsewhere, table.immortal = table.immortal, []
    _print(table, options.form, targets)
    return CONFORMS if table.is_clean else DEVIATES


def _progress(ended: int, parts: int) -> None:
    if parts > 2:
        typer.echo(f"{ended} of {parts} parts of the faults are done", err=True)


def _print(table: Any, form: str, targets: list[str]) -> None:
    if form == "json":
        typer.echo(json.dumps([row.plain() for row in table.rows], indent=1))
    elif form == "markdown":
        from mqproof.harness.saboteur.markdown import table_page
        from mqproof.harness.targets.target import redact

        typer.echo(table_page(table, map(redact, targets)), nl=False)
    else:
        _print_table(table)


def _print_table(table: Any) -> None:
    """Print a line for each fault, the unkilled and overbroad ones last, where people look."""
    width = max((len(row.spec.name) for row in table.rows), default=0)
    clean = [row for row in table.rows if row.result == "killed" and not row.overbroad]
    for row in sorted(clean, key=lambda row: str(row.spec.name)):
        typer.echo(f"{row.spec.name:{width}}  killed  {_by(row.killed_by)}")
    for row in table.rows:
        if row.overbroad:
            typer.echo(f"{row.spec.name:{width}}  overbroad: {', '.join(row.overbroad)}")
        elif row.control_failed:
            typer.echo(f"{row.spec.name:{width}}  invalid, without it these fail: {', '.join(row.control_failed)}")
        elif not row.killed_by:
            typer.echo(f"{row.spec.name:{width}}  survived {counted(row.ran, 'test')}: {row.why or 'not explained'}")
    killed = sum(row.result == "killed" for row in table.rows)
    broad = sum(bool(row.overbroad) for row in table.rows)
    faults = counted(len(table.rows), "fault")
    typer.echo(f"{faults}: {killed} killed, {len(table.rows) - killed} not, {broad} overbroad")
    if table.unmet:
        typer.echo(f"no test met these here: {', '.join(table.unmet)}")
    for name in table.immortal:
        typer.echo(f"no fault kills {name}")


def _by(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"by {names[0].rpartition('::')[2]}{more}"
