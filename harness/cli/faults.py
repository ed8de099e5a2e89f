"""``mqproof faults``: the proof that the tests can fail."""

import json
import sys
from contextlib import ExitStack
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Prove that the suites can fail: break one promise at a time and see which tests notice.",
)
SUITES = ["mqproof.suites.amqp", "mqproof.suites.mqtt"]
EXIT_SURVIVORS, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_INTERNAL, EXIT_NOTHING = 1, 2, 3, 4, 5


@app.command("list")
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


@app.command("run")
def run(
    target: Annotated[list[str] | None, typer.Option(help="A broker's URL or name (repeatable).")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="Only this fault (repeatable).")] = None,
    patience: Annotated[float, typer.Option(help="Factor for every deadline.")] = 0.2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print it as docs/kill-table.md.")] = False,
    insecure: Annotated[bool, typer.Option(help="Do not verify the broker's certificate.")] = False,
) -> None:
    """Run each fault against the tests that claim the statements it breaks.

    Exit codes: 0 every fault killed, none overbroad; 1 survivors; 2 usage; 3 target unreachable; 4 internal; 5 nothing
    ran.
    """
    from mqproof.harness.saboteur.running import UnknownFault
    from mqproof.harness.targets.errors import TargetError
    from mqproof.harness.targets.target import BadTarget

    try:
        form = "json" if as_json else "markdown" if as_markdown else "table"
        code = _run(target or ["embedded"], fault or [], patience, form, insecure)
    except (UnknownFault, BadTarget) as error:
        code = _fail(EXIT_USAGE, error)
    except TargetError as error:
        code = _fail(EXIT_UNREACHABLE, error)
    raise typer.Exit(code)


def _fail(code: int, error: Exception) -> int:
    typer.echo(f"mqproof: {error}", err=True)
    return code


def _run(targets: list[str], names: list[str], patience: float, form: str, insecure: bool) -> int:
    from mqproof.harness.proxy.core import ProxyLoop
    from mqproof.harness.saboteur import running
    from mqproof.harness.saboteur.kill_table import tabulate
    from mqproof.harness.targets.opening import open_all
    from mqproof.harness.targets.target import Target, Tls

    faults = running.chosen_faults(names)
    with ExitStack() as resources, ProxyLoop() as loop:
        sabotaged: dict[str, tuple[Target, frozenset[str]]] = {}
        for base in open_all(targets, resources, tls=Tls(insecure=True) if insecure else None):
            start = running.defective_brokers(resources, base)
            sabotaged |= running.sabotage(base, faults, loop, start)
        plugin = running.FaultRun(sabotaged, _progress(form))
        code = running.run_tests(SUITES, plugin, [f"--mqproof-patience={patience}", "-m", "not slow"])
    _progress(form)("")
    if plugin.errors or code not in (0, 1):
        return _fail(EXIT_INTERNAL, RuntimeError("; ".join(plugin.errors) or f"pytest ended with {code}"))
    if not plugin.records:
        return _fail(EXIT_NOTHING, RuntimeError("no test claims a statement that these faults break"))
    ran = [spec.name for spec in faults if any(name.endswith(f"~{spec.name}") for name in sabotaged)]
    table = tabulate(ran, plugin.records, frozenset(plugin.sanity))
    if names:
        table.immortal.clear()  # most tests met no fault at all
    _print(table, form, targets)
    return 0 if table.is_clean else EXIT_SURVIVORS


def _progress(form: str) -> Any:
    if form != "table" or not sys.stderr.isatty():
        return lambda text: None
    return lambda text: sys.stderr.write(f"\r\x1b[K{text[:78]}") and sys.stderr.flush()


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
    from rich.console import Console
    from rich.table import Table

    shown = Table("fault", "result", "killed by", box=None, pad_edge=False)
    order = {"survived": 0, "invalid": 1, "killed": 2}
    for row in sorted(table.rows, key=lambda row: (not row.overbroad, order[row.result], row.spec.name)):
        shown.add_row(row.spec.name, "overbroad" if row.overbroad else row.result, _by(row))
    console = Console()
    console.print(shown)
    killed = sum(row.result == "killed" for row in table.rows)
    broad = sum(bool(row.overbroad) for row in table.rows)
    console.print(f"{len(table.rows)} faults: {killed} killed, {len(table.rows) - killed} not, {broad} overbroad")
    for name in table.immortal:
        console.print(f"no fault kills {name}", style="bold", soft_wrap=True)


def _by(row: Any) -> str:
    names = row.overbroad or row.control_failed or row.killed_by
    return ", ".join(name.rpartition("::")[2] for name in names[:3]) + (" …" if len(names) > 3 else "")
