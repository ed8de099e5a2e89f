"""``mqproof runs``: what lies in mqproof-runs, and how to share it."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from mqproof.harness.cli.codes import USAGE
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.helping import Command
from mqproof.harness.cli.written import AsJson, say_written

if TYPE_CHECKING:
    from mqproof.harness.run import Run

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    help="List the run directories of mqproof-runs (as runs list does), pack one into a file, unpack it. "
    "Exit codes: 0; 2 for wrong usage or no run.",
)


@app.callback()
def runs(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the runs where nothing else is asked for."""  # the group's own help stands above
    if ctx.invoked_subcommand is None:
        list_runs(None, as_json)
    elif as_json:
        raise typer.Exit(fail(USAGE, f"--json comes behind the command: mqproof runs {ctx.invoked_subcommand} --json"))


@app.command("list", cls=Command)
def list_runs(
    folder: Annotated[Path | None, typer.Argument(help="Where the runs lie; else mqproof-runs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the runs, oldest first."""
    from mqproof.harness.archive import runs_in
    from mqproof.harness.run import FOLDER, BadRun

    if folder is not None and not folder.is_dir():
        raise typer.Exit(fail(USAGE, f"{folder} is no folder: name the one that holds the runs"))
    folder = folder or Path(FOLDER)
    rows = []
    for path, run in runs_in(folder):
        rows.append({"run": str(path), "error": str(run)} if isinstance(run, BadRun) else _row(path, run))
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    elif not rows:
        typer.echo(f"no runs in {folder}: make one with mqproof test")
    else:
        _print(rows)


@app.command("pack", cls=Command)
def pack_run(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Else RUN.mqproof.tar.gz.")] = None,
    as_json: AsJson = False,
) -> None:
    """Pack a run directory into one file."""
    from mqproof.harness.archive import SUFFIX, pack
    from mqproof.harness.run import BadRun

    archive = out or run.resolve().with_name(run.resolve().name + SUFFIX)
    try:
        pack(run, archive)
    except BadRun as error:
        raise typer.Exit(fail(USAGE, error)) from None
    say_written("file", archive, as_json)


@app.command("unpack", cls=Command)
def unpack_run(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    into: Annotated[Path, typer.Option("--into", metavar="FOLDER", help="Where to put it.")] = Path("mqproof-runs"),
    as_json: AsJson = False,
) -> None:
    """Unpack a packed run."""
    from mqproof.harness.archive import unpack
    from mqproof.harness.run import BadRun

    try:
        folder = unpack(file, into)
    except BadRun as error:
        raise typer.Exit(fail(USAGE, error)) from None
    say_written("run", folder, as_json)


def _row(path: Path, run: "Run") -> dict[str, Any]:
    verdicts = Counter(row["verdict"] for row in run.statements)
    return {
        "run": str(path),
        "started": run.started,
        "complete": run.complete,
        "targets": [f"{target['product']} {target['version']}".strip() or target["name"] for target in run.targets],
        "verdicts": dict(verdicts),
        "analyses": len(run.analyses),
        "loads": len(run.loads),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from mqproof.harness.reporting.screen import Screen
    from rich.table import Table

    table = Table("run", "targets", "holds", box=None, pad_edge=False)
    for row in rows:
        if "error" in row:
            table.add_row(row["run"], "", row["error"])
            continue
        counts = {**row["verdicts"], "captures": row["analyses"], "loads": row["loads"]}
        holds = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"
        state = "" if row["complete"] else " (not complete)"
        table.add_row(row["run"], ", ".join(dict.fromkeys(row["targets"])), holds + state)
    Screen().print(table)
