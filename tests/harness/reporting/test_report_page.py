"""The Allure page in a real browser, made by the real Allure: opens from a file every time, and calls nobody."""

import json
from pathlib import Path

import pytest
from mqproof.harness.cli.main import app
from mqproof.harness.reporting.allure import ReportUnavailable, _node, install
from mqproof.harness.reporting.allure_measured import write_measured
from mqproof.harness.run import Run
from typer.testing import CliRunner

pytestmark = pytest.mark.whole_run
OPENED = 5
SOON = 10_000.0  # milliseconds
LABELS = {"epic": "AMQP 0-9-1", "feature": "Topic", "story": "words", "target": "a:1", "verdict": "deviates"}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        install(_node())
    except ReportUnavailable as reason:
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("run")
    target = {"name": "a:1", "url": "amqp://a:1", "protocol": "amqp", "product": "P", "version": "1"}
    load = {"scenario": "welcome-email", "target": "a:1", "metrics": {"latency_us": {"p99": 9}}, "ledger": {"lost": 2}}
    run = Run(targets=[target | {"capabilities": []}], loads=[load, load])
    run.save(folder)
    write_measured(run, folder / "allure-results")  # as mqproof load does
    result = {
        "uuid": "1", "historyId": "1", "name": "test_one", "status": "failed", "stage": "finished",
        "start": 1, "stop": 2,
        "statusDetails": {"message": "expected <b>1</b>; got 2"},
        "labels": [{"name": name, "value": value} for name, value in LABELS.items()],
    }  # fmt: skip
    (folder / "allure-results" / "1-result.json").write_text(json.dumps(result))
    outcome = CliRunner().invoke(app, ["report", str(folder)])
    assert outcome.exit_code == 0, outcome.output
    return folder / "report.html"


def test_the_page_shows_suites_and_loads_every_time_it_is_opened(open_page, page_file):
    for _ in range(OPENED):
        opened = open_page(page_file)
        for text in ("AMQP 0-9-1", "Loads"):
            opened.page.get_by_text(text, exact=True).first.wait_for(timeout=SOON)


def test_every_load_is_a_result_of_its_own(open_page, page_file):
    page = open_page(page_file).page
    page.get_by_text("Loads", exact=True).first.wait_for(timeout=SOON)
    assert "Results 3" in " ".join(page.locator("body").inner_text().split())


def test_a_failed_test_shows_its_category_and_message(open_page, page_file):
    page = open_page(page_file).page
    one = page.get_by_text("test_one", exact=True).first
    for text in ("AMQP 0-9-1", "Topic", "words"):
        page.get_by_text(text, exact=True).first.wait_for(timeout=SOON)
        if not one.is_visible():
            page.get_by_text(text, exact=True).first.click()
    one.click()
    page.get_by_text("Specification violation").first.wait_for(timeout=SOON)
    assert "expected <b>1</b>; got 2" in page.locator("body").inner_text()
