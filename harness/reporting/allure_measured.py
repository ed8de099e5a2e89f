"""Captures and loads as Allure results and performance metrics, written for one report beside those of the suites."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mqproof.harness.compare import LOAD_METRICS, OVERHEAD, at, overheads_of
from mqproof.harness.reporting.load_charts import charts
from mqproof.harness.reporting.svg import bars
from mqproof.harness.run import Run

GROUPS = {"overhead": "Overhead per delivered message", "load": "Under load"}
LAYERS_SHOWN = 14


def write_measured(run: Run, folder: Path, beside: Path | None = None) -> None:
    """Write one result for each capture and load of the run, and the metrics, into ``folder``.

    What ``beside`` holds already is left out: of results that it is given twice, Allure shows none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moment = _milliseconds(run.started)
    results = [_capture(analysis, folder, moment) for analysis in run.analyses]
    results += [_load(load, folder, moment, nth) for load, nth in _numbered(run.loads)]
    files: dict[str, Any] = {f"{result['uuid']}-result.json": result for result in results}
    files[f"{_name(run.started)}-perf.json"] = list(_metrics(run, moment))
    for name, content in files.items():
        if content and not (beside and (beside / name).exists()):
            (folder / name).write_text(json.dumps(content), encoding="utf-8")


def performance(runs: Iterable[Run]) -> dict[str, Any]:
    """Return the part of Allure's configuration that names the metrics."""
    metrics: dict[str, Any] = {}
    for run in runs:
        for metric in _metrics(run, 0):
            key, better = metric["key"], "higher" if LOAD_METRICS.get(metric["key"].rpartition(" ")[2]) else "lower"
            unit = "B" if metric["group"] == "overhead" else _unit(key)
            metrics[key] = {"title": key, "unit": unit, "better": better, "group": metric["group"]}
    return {"groups": {name: {"title": title} for name, title in GROUPS.items()}, "metrics": metrics}


def _metrics(run: Run, moment: int) -> Iterable[dict[str, Any]]:
    found = [(f"{name} {OVERHEAD}", value, "overhead") for name, value in overheads_of(run).items()]
    for load in run.loads:
        for path in LOAD_METRICS:
            value = at(load, path)
            if value is not None:
                found.append((f"{load.get('scenario', 'load')} {path}", value, "load"))
    for key, value, group in found:
        yield {"id": _name(key), "key": key, "value": value, "start": moment, "stop": moment + 1, "group": group}


def _numbered(loads: Iterable[dict[str, Any]]) -> Iterable[tuple[dict[str, Any], int]]:
    """Yield each load with its number among those of its scenario and target: a later one is no retry of the first."""
    met: Counter[str] = Counter()
    for load in loads:
        key = f"{load.get('scenario')} {_target_name(load)}"
        met[key] += 1
        yield load, met[key]


def _target_name(load: dict[str, Any]) -> str:
    target = load.get("target", "")
    return str(target.get("name", "") if isinstance(target, dict) else target)


def _capture(analysis: dict[str, Any], folder: Path, moment: int) -> dict[str, Any]:
    account = analysis.get("account", {})
    layers = account.get("bytes", {}).get("by_layer", {})
    rows = sorted(((name, float(size)) for name, size in layers.items() if size), key=lambda row: -row[1])
    attachments = [
        _attached(folder, "bytes by layer", bars("Bytes by layer", rows[:LAYERS_SHOWN], "B"), "image/svg+xml", "svg"),
        _attached(folder, "account", json.dumps(account, indent=1), "application/json", "json"),
    ]
    name = str(analysis.get("file", "capture"))
    status = "passed" if not account.get("findings") else "broken"
    return _result(name, "Captures", str(analysis.get("target", "")), status, "", attachments, moment, 1)


def _load(load: dict[str, Any], folder: Path, moment: int, nth: int) -> dict[str, Any]:
    status, message = _verdict(load)
    attachments = [_attached(folder, "measured", json.dumps(load, indent=1), "application/json", "json")]
    attachments += [_attached(folder, name, picture, "image/svg+xml", "svg") for name, picture in charts(load)]
    duration = int(1000 * (at(load, "duration_s") or at(load, "metrics.duration_s") or 0.001))
    name = str(load.get("scenario", "load")) + (f" ({nth})" if nth > 1 else "")
    return _result(name, "Loads", _target_name(load), status, message, attachments, moment, duration)


def _verdict(load: dict[str, Any]) -> tuple[str, str]:
    """Return status and message: it failed where ``mqproof load`` said so by its exit code, and for that reason.

    What was lost or came twice without a promise broken stays a remark: at least once is what QoS 1 is for.
    """
    missed = [row for row in load.get("thresholds", ()) if not row["passes"]]
    if missed:
        return "failed", "; ".join(f"{row['rule']}: {row['value']}, bound {row['bound']:g}" for row in missed)
    ledger = load.get("ledger", {})
    told = [f"{count} lost: {cause}" for cause, count in ledger.get("lost_by_cause", {}).items()]
    told += [f"{ledger['duplicated']} duplicated"] if ledger.get("duplicated") else []
    return "passed", "; ".join(told)


def _result(
    name: str, epic: str, target: str, status: str, message: str, attachments: Sequence[dict[str, str]], start: int,
    duration: int,
) -> dict[str, Any]:  # fmt: skip
    labels = {"epic": epic, "feature": target or "all targets", "story": name, "target": target, "framework": "mqproof"}
    return {
        "uuid": _name(f"{epic} {name} {target} {start}"),
        "historyId": _name(f"{epic} {name} {target}"),
        "name": name,
        "fullName": f"mqproof.{epic.lower()}#{name}",
        "status": status,
        "statusDetails": {"message": message} if message else {},
        "stage": "finished",
        "start": start,
        "stop": start + duration,
        "labels": [{"name": key, "value": value} for key, value in labels.items() if value],
        "attachments": list(attachments),
    }


def _attached(folder: Path, name: str, text: str, kind: str, suffix: str) -> dict[str, str]:
    source = f"{_name(name + text)}-attachment.{suffix}"
    (folder / source).write_text(text, encoding="utf-8")
    return {"name": name, "type": kind, "source": source}


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _milliseconds(moment: str) -> int:
    try:
        return int(datetime.fromisoformat(moment).timestamp() * 1000)
    except ValueError:
        return 0


def _unit(key: str) -> str:
    return "µs" if "latency_us" in key else "msg/s" if key.endswith("msg_s") else ""
