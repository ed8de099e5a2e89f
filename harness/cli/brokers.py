"""``mqproof brokers``: which local brokers can be started, and how to install those that cannot."""

import json
from typing import Annotated, Any

import typer


def brokers(
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects instead of a table.")] = False,
) -> None:
    """List the local brokers that can be started by name, and how to install what is missing."""
    rows = _rows()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        state = row["version"] if row["installed"] else f"not installed: {row['install']}"
        typer.echo(f"{row['name']:{width}}  {' '.join(row['protocols']):9}  {state}")


def _rows() -> list[dict[str, Any]]:
    from mqproof.harness.targets.drivers import DRIVERS

    rows = []
    for driver in DRIVERS.values():
        installed, detail = driver.availability()
        rows.append({
            "name": driver.name,
            "protocols": list(driver.protocols),
            "installed": installed,
            "version": detail if installed else None,
            "install": None if installed else detail,
        })  # fmt: skip
    return rows
