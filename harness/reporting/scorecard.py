"""The scorecard: statements against brokers and versions, as one static page that calls nobody."""

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from mqproof.harness.compare import OVERHEAD, at, overheads_of
from mqproof.harness.evidence import as_text, conversation_of
from mqproof.harness.reporting.svg import bars, sequence
from mqproof.harness.run import Run
from mqproof.harness.statements.links import link_of
from mqproof.harness.statements.registry import SPECS, Statement, statements
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.verdicts import Verdict, merge

TITLES = {"amqp-0-9-1": "AMQP 0-9-1", "mqtt-3.1.1": "MQTT 3.1.1", "mqtt-5.0": "MQTT 5.0"}
LOADS = (
    ("Delivered under load", "metrics.delivery_rate_msg_s", 1.0, "msg/s"),
    ("Latency, 99th percentile", "metrics.latency_us.p99", 1000.0, "ms"),
    ("Lost messages", "ledger.lost", 1.0, ""),
)
EVIDENCE_PER_CELL = 3  # failed tests whose conversation a cell shows


def scorecard(runs: Sequence[tuple[Run, Path]]) -> str:
    """Return the page for several runs with their folders; targets of the same name get the run's number.

    Raises BadRun where a conversation is damaged.
    """
    columns = _columns(runs)
    data = {
        "specs": [_spec(spec, columns) for spec in SPECS if any(_speaks(column, spec) for column in columns)],
        "targets": [_target(column) for column in columns],
        "runs": [{"started": run.started, "complete": run.complete, "version": run.tool["version"]} for run, _ in runs],
    }
    return _page(data, _charts(runs))


def _page(data: dict[str, Any], charts: str) -> str:
    here = files("mqproof.harness.reporting")
    text = here.joinpath("scorecard.html").read_text(encoding="utf-8")
    # "</" would end the script, whatever stands around it
    inline = json.dumps(data, separators=(",", ":")).replace("</", "<\\/").replace("<!--", "<\\u0021--")
    for mark, part in (
        ("/*STYLE*/", here.joinpath("scorecard.css").read_text(encoding="utf-8")),
        ("/*SCRIPT*/", here.joinpath("scorecard.js").read_text(encoding="utf-8")),
        ("<!--CHARTS-->", charts),
        ("/*DATA*/null", inline),
    ):
        text = text.replace(mark, part, 1)
    return text


def _columns(runs: Sequence[tuple[Run, Path]]) -> list[dict[str, Any]]:
    """Return one column for each target of each run: what it is, its rows by statement, its tests by id."""
    names = Counter(target["name"] for run, _ in runs for target in run.targets)
    columns = []
    for number, (run, folder) in enumerate(runs, 1):
        for target in run.targets:
            name = target["name"] + (f" (run {number})" if names[target["name"]] > 1 else "")
            rows = {(row["spec"], row["id"]): row for row in run.statements if row["target"] == target["name"]}
            tests = {test["id"]: test for test in run.tests}
            columns.append({"target": target, "name": name, "rows": rows, "tests": tests, "folder": folder})
    return columns


def _speaks(column: dict[str, Any], spec: str) -> bool:
    return bool(spec.startswith(str(column["target"]["protocol"])))


def _target(column: dict[str, Any]) -> dict[str, Any]:
    target = column["target"]
    product = f"{target['product']} {target['version']}".strip()
    return {
        "name": column["name"],
        "product": product,
        "protocol": target["protocol"],
        "url": target["url"],
        "again": shlex.quote(again(target)),
    }


def again(target: dict[str, Any]) -> str:
    """Return what to call a target on the command line to test it again: its driver's name, or its URL."""
    name = str(target["name"])
    return name if name.partition("-")[0] in DRIVERS else str(target["url"]).replace(":***@", "@")


def _spec(spec: str, columns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    spoken = [number for number, column in enumerate(columns) if _speaks(column, spec)]
    sections: dict[str, list[dict[str, Any]]] = {}
    for statement in statements(spec):
        sections.setdefault(statement.section, []).append(
            {
                "id": statement.id,
                "level": statement.level,
                "actor": statement.actor,
                "testable": statement.testable,
                "summary": statement.summary,
                "why": statement.reason,
                "link": link_of(statement),
                "cells": [_cell(statement, columns[number]) for number in spoken],
            }
        )
    grouped = [{"name": name, "statements": rows} for name, rows in sections.items()]
    return {"spec": spec, "title": TITLES[spec], "columns": spoken, "sections": grouped}


def _cell(statement: Statement, column: dict[str, Any]) -> dict[str, Any]:
    row = column["rows"].get((statement.spec, statement.id))
    if row is None:
        return {"v": Verdict.UNTESTED}
    cell: dict[str, Any] = {"v": merge([Verdict(row["verdict"])]), "tests": row["tests"]}
    cell |= {name: row[name] for name in ("expected", "actual", "reason") if row.get(name)}
    evidence = _evidence(row, column)
    return cell | {"evidence": evidence} if evidence or row["verdict"] != Verdict.CONFORMS or row["reason"] else cell


def _evidence(row: dict[str, Any], column: dict[str, Any]) -> list[dict[str, str]]:
    """Return the conversations of the tests that gave the row its verdict, as pictures and as text."""
    found: list[dict[str, str]] = []
    for identifier in row["tests"]:
        test = column["tests"].get(identifier, {})
        wires = conversation_of(column["folder"], test) if test.get("outcome") == row["verdict"] else None
        if wires is None:
            continue
        found.append({"test": identifier, "svg": sequence(wires), "text": as_text(wires)})
        if len(found) == EVIDENCE_PER_CELL:
            break
    return found


def _charts(runs: Sequence[tuple[Run, Path]]) -> str:
    overhead = [(f"{_products(run)}: {name}", value) for run, _ in runs for name, value in overheads_of(run).items()]
    charts = [(f"Overhead per delivered message ({OVERHEAD.replace('_', ' ')})", overhead, "B")]
    for title, path, scale, unit in LOADS:
        loads = [(run, load) for run, _ in runs for load in run.loads]
        values = [(f"{_products(run)}: {load.get('scenario', 'load')}", at(load, path)) for run, load in loads]
        charts.append((title, [(name, value / scale) for name, value in values if value is not None], unit))
    drawn = [bars(title, rows, unit) for title, rows, unit in charts if rows]
    return "".join(f"<figure>{chart}</figure>" for chart in drawn) or "<p>These runs hold no captures and no loads.</p>"


def _products(run: Run) -> str:
    return ", ".join(sorted({target["product"] or target["name"] for target in run.targets})) or "run"
