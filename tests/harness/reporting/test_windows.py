"""Every page of ours in a window of a desk and of a telephone: nothing sticks out, nothing is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mqproof.harness.choose import Candidate, Measure, Need, choose
from mqproof.harness.cli.main import app
from mqproof.harness.reporting.choose_page import Report, page
from mqproof.harness.run import Run
from mqproof.harness.workload import read
from typer.testing import CliRunner

pytestmark = pytest.mark.whole_run
CAPTURE = Path(__file__).parents[3] / "captures" / "mqtt-5.0.pcapng"
WINDOWS = {"desk": {"width": 1280, "height": 900}, "telephone": {"width": 390, "height": 844}}
LONG = "expected basic.return; got basic.ack {'delivery_tag': 1, 'multiple': False} " * 3
TARGET = {"name": "a-broker", "url": "amqp://a:1", "protocol": "amqp", "product": "A broker with a long name"}


def run(folder: Path, verdict: str) -> Path:
    row = {"spec": "amqp-0-9-1", "id": "basic.publish.mandatory/01", "target": "a-broker", "tests": ["t"]}
    statement = row | {"verdict": verdict, "expected": LONG, "actual": LONG, "reason": LONG}
    load = {"scenario": "welcome-email", "target": "a-broker", "metrics": {"latency_us": {"p99": 12345678}}}
    target = TARGET | {"version": "1.2.3", "capabilities": []}
    Run(complete=True, targets=[target], statements=[statement], loads=[load]).save(folder)
    return folder


def choice() -> str:
    def one(name: str) -> Candidate:
        facts = {"throughput": Measure(12345.6, "msg/s", "", (11111.0, 22222.0)), "month_mb": Measure(1e6, "MB", "")}
        need = Need("exactly-once", False, "mqtt-5.0:MQTT-4.3.3-10 known-deviation")
        return Candidate(name, f"Product {name}", "1.2.3", "mqtt", "", facts, [need])

    return page(Report("2026-01-01", "1", "m", [choose("dog-gps", read("dog-gps"), [one("a"), one("b")])]))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    before, after = run(folder / "before", "conforms"), run(folder / "after", "deviates")
    made = {name: folder / f"{name}.html" for name in ("scorecard", "compare", "account", "choose")}
    for words in (
        ["scorecard", before, after, "-o", made["scorecard"]],
        ["compare", before, after, "--html", made["compare"]],
        ["analyze", CAPTURE, "--html", made["account"]],
    ):
        assert CliRunner().invoke(app, list(map(str, words))).exit_code in (0, 1)
    made["choose"].write_text(choice())
    return made


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", ["scorecard", "compare", "account", "choose"])
def test_nothing_sticks_out_of_the_window(
    open_page: Callable[[Path], Any], pages: dict[str, Path], name: str, window: str
) -> None:
    opened = open_page(pages[name]).page
    opened.set_viewport_size(WINDOWS[window])
    document = "document.documentElement"
    assert opened.evaluate(f"{document}.scrollWidth - {document}.clientWidth") == 0
    assert len(opened.locator("body").inner_text()) > 200


@pytest.mark.parametrize("window", WINDOWS)
def test_statements_have_room_beside_the_verdicts(
    open_page: Callable[[Path], Any], pages: dict[str, Path], window: str
) -> None:
    opened = open_page(pages["scorecard"]).page
    opened.set_viewport_size(WINDOWS[window])
    widths = "cells => cells.filter(cell => cell.offsetWidth).map(cell => [cell.clientWidth, cell.scrollWidth])"
    cells = opened.locator(".grid tbody td").evaluate_all(widths)
    assert cells
    assert [room for room, needed in cells if needed > room] == []
    assert min(room for room, _ in cells[:1]) > 150
