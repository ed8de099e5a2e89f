"""The worked example of docs/how-to/upgrade.md: two versions of one broker, made different by the saboteur."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.run import load
from mqproof.harness.saboteur.core import passage_for
from mqproof.harness.saboteur.running import chosen_faults
from mqproof.harness.targets.drivers import DRIVERS
from typer.testing import CliRunner

pytestmark = pytest.mark.whole_run
ROOT = Path(__file__).parents[3]
CAPTURE = Path("docs/examples/upgrade/application.pcapng")
PAGE = ROOT / "docs/how-to/upgrade.md"
# What the second version does worse: what the application uses, and what it does not.
TOUCHING, ELSEWHERE = ("priority-ignored", "mandatory-ignored"), ("prefetch-size-absolute", "consumer-priority-ignored")


@contextmanager
def version(*faults: str) -> Iterator[str]:
    """A broker's URL; defects are the broker's own, other faults the saboteur's before it."""
    specs = chosen_faults(faults) if faults else []
    defects = ",".join(spec.defect for spec in specs if spec.defect)
    with DRIVERS["embedded"].start(["amqp"], options={"defects": defects}) as broker, ProxyLoop() as loop:
        target = broker.targets[0]
        for spec in specs:
            if not spec.defect:
                target = loop.proxy(target, passage_for(spec.make())).target
        yield f"amqp://guest:guest@{target.host}:{target.port}"


def mqproof(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "mqproof.harness.cli", *arguments]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False, env=environment
    )


LEVELS = ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "MAY NOT", "unstated", "documented")  # all of them


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upgrade")
    for name, faults in (("before", ()), ("after", TOUCHING + ELSEWHERE)):
        with version(*faults) as url:
            levels = [word for level in LEVELS for word in ("--level", level)]
            done = mqproof("test", url, "--suite", "amqp", "--quick", *levels, "--out", name, folder=folder)
        assert done.returncode == (1 if faults else 0), done.stdout[-2000:]
    return folder


def without_reasons(text: str) -> list[str]:
    """Return the lines without the reasons, in which names stand that each run makes anew."""
    lines: list[str] = []
    is_reason = False
    for line in text.splitlines():
        is_reason = line.startswith("  why:") or (is_reason and line.startswith("  "))
        if not is_reason and not line.startswith(("It uses", "both runs judged")):  # grows with the suites
            lines.append(line.rstrip())
    return lines


def test_the_page_shows_what_the_command_prints(runs):
    done = mqproof(
        "impact", str(CAPTURE), "--from", str(runs / "before"), "--to", str(runs / "after"), folder=ROOT
    )
    assert done.returncode == 1, done.stderr
    block = PAGE.read_text(encoding="utf-8").partition("```text\n")[2].partition("```")[0]
    worse = block.partition("Worse for this application\n")[2].partition("Judged by one side only")[0]
    assert "deviates" in worse
    printed = done.stdout.partition("Judged by one side only")[0]
    assert [line for line in without_reasons(worse) if line not in without_reasons(printed)] == []


def test_only_what_the_application_uses_is_shown(runs):
    from mqproof.harness.impact import impact

    found = impact(ROOT / CAPTURE, [load(runs / "before")], [load(runs / "after")])
    shown = {f"{entry.change.spec}:{entry.change.id}" for entry in found.of("worse")}
    broken = {name: set(chosen_faults([name])[0].statements) for name in TOUCHING + ELSEWHERE}
    for name in TOUCHING:
        assert shown & broken[name], name
    for name in ELSEWHERE:
        assert not shown & broken[name], name
    assert found.untouched > 0


def test_the_capture_is_of_the_application(tmp_path):
    """The committed capture holds what the application says today."""
    from mqproof.harness.impact import Traffic, features_in
    from mqproof.harness.recording.tap import tapping

    recorded = tmp_path / "again.pcapng"
    with DRIVERS["embedded"].start(["amqp"]) as broker, tapping(broker.targets, recorded) as taps:
        script = ROOT / CAPTURE.parent / "application.py"
        subprocess.run([sys.executable, str(script), taps[0].host, str(taps[0].port)], check=True, timeout=60)
    names = [set(features_in(Traffic(path))["amqp-0-9-1"]) for path in (recorded, ROOT / CAPTURE)]
    assert names[0] == names[1]


def test_compare_shows_the_same_runs_as_a_whole(runs):
    from mqproof.harness.cli.main import app

    done = CliRunner().invoke(app, ["compare", str(runs / "before"), str(runs / "after")])
    assert done.exit_code == 1
    assert "amqp-0-9-1:consumer-priority/01  conforms -> deviates" in done.stdout
