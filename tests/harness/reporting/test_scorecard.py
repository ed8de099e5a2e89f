"""The scorecard in a real browser: opens from a file, filters, opens cells, calls nobody, says no error."""

import json
from pathlib import Path

import pytest
from mqproof.harness.cli.main import app
from mqproof.harness.evidence import save_transcripts
from mqproof.harness.reporting.scorecard import scorecard
from mqproof.harness.run import Run
from mqproof.harness.wires.base import Transcript
from typer.testing import CliRunner

EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil=2'>"
WORDS = "3.1.3.3/words"


def target(name: str, protocol: str, version: str) -> dict:
    url = f"{protocol}://me:***@127.0.0.1:1"
    return {"name": name, "url": url, "protocol": protocol, "product": "P", "version": version, "capabilities": []}


def row(spec: str, identifier: str, on: str, verdict: str, **more: object) -> dict:
    base = {"spec": spec, "id": identifier, "target": on, "verdict": verdict, "tests": [f"t[{on}]"], "reason": ""}
    return {**base, "expected": None, "actual": None, **more}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    transcript = Transcript("wire 1")
    transcript.add(">", b"x", f"basic.publish {EVIL}")
    file = save_transcripts(folder, "t[broker-a]", [transcript], ())
    run = Run(targets=[target("broker-a", "amqp", "1"), target("broker-b", "amqp", "2"), target("m", "mqtt", "1")])
    run.statements = [
        row("amqp-0-9-1", WORDS, "broker-a", "deviates", expected="[1]", actual=EVIL, reason=EVIL),
        row("amqp-0-9-1", WORDS, "broker-b", "conforms"),
        row("amqp-0-9-1", "basic/01", "broker-a", "conforms"),
        row("amqp-0-9-1", "basic/01", "broker-b", "conforms"),
        row("amqp-0-9-1", "basic/06", "broker-a", "known-deviation", reason="bands are not offered"),
        row("amqp-0-9-1", "basic/06", "broker-b", "known-deviation", reason="bands are not offered"),
        row("mqtt-5.0", "MQTT-4.3.3-13", "m", "inconclusive", reason="precondition: no CONNACK"),
    ]
    run.tests = [{"id": "t[broker-a]", "target": "broker-a", "outcome": "deviates", "transcript": file}]
    run.loads = [{"scenario": "welcome-email", "metrics": {"delivery_rate_msg_s": 1234.0}}]
    run.save(folder)
    result = CliRunner().invoke(app, ["scorecard", str(folder)])
    assert (result.exit_code, result.stdout.strip()) == (0, str(folder / "scorecard.html"))
    return folder / "scorecard.html"


@pytest.fixture
def opened(open_page, page_file):
    found = open_page(page_file)
    yield found
    assert found.page.evaluate("window.evil") is None


def rows(opened) -> list[str]:
    return opened.page.locator("#matrix td:first-child code").all_inner_texts()


def test_the_matrix_has_every_statement_of_the_specifications_that_were_tested(opened):
    from mqproof.harness.statements.registry import statements

    assert len(rows(opened)) == sum(len(statements(spec)) for spec in ("amqp-0-9-1", "mqtt-3.1.1", "mqtt-5.0"))
    assert opened.page.locator("#count").inner_text() == f"{len(rows(opened))} statements"


def test_filters_leave_what_was_asked_for(opened):
    page = opened.page
    page.fill("#search", WORDS)
    assert rows(opened) == [WORDS]
    page.fill("#search", "")
    page.check("#differ")
    assert rows(opened) == [WORDS]
    page.uncheck("#differ")
    for verdict in ("deviates", "conforms", "untested", "known-deviation", "unsupported"):
        page.uncheck(f"#verdicts input[value='{verdict}']")
    assert rows(opened) == ["MQTT-4.3.3-13"]
    page.uncheck("#levels input[value='MUST']")
    assert rows(opened) == []


def test_a_specification_can_be_chosen(opened):
    opened.page.select_option("#spec", "mqtt-3.1.1")
    assert len(rows(opened)) == 141


def test_a_cell_opens_to_expected_actual_and_conversation(opened):
    page = opened.page
    page.locator("#matrix button.deviates").click()
    shown = page.locator("#detail").inner_text()
    assert "[1]" in shown
    assert "mqproof test amqp://me@127.0.0.1:1 --statement amqp-0-9-1:3.1.3.3/words" in shown
    assert EVIL in shown  # as text, and only as text
    assert page.locator("#detail svg").count() == 1
    page.keyboard.press("Escape")
    assert not page.locator("#detail").is_visible()


def test_the_matrix_is_usable_with_the_keyboard(opened):
    page = opened.page
    page.locator("#matrix button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.split(": ")[0].endswith("on broker-b")
    page.keyboard.press("Enter")
    assert page.locator("#detail").is_visible()


def test_deviations_are_listed_and_lead_to_their_cell(opened):
    table = opened.page.locator("#deviations > .scroll tbody tr")
    assert table.count() == 1
    table.locator("a").click()
    assert opened.page.locator("#detail").is_visible()


def test_known_deviations_are_folded_away_with_their_reasons(opened):
    known = opened.page.locator("#known")
    assert known.locator("summary").inner_text() == "2 known deviations"
    known.locator("summary").click()
    assert known.locator("tbody tr").first.inner_text().split("\t")[-1].strip() == "bands are not offered"


def test_charts_show_what_was_measured(opened):
    assert "1,234 msg/s" in opened.page.locator("figure svg").first.text_content()


def test_both_colour_schemes_are_readable(browser, page_file):
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(page_file.as_uri())
        style = "getComputedStyle(document.body)"
        colours = page.evaluate(f"[{style}.color, {style}.backgroundColor]")
        light, dark = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
        assert abs(light - dark) > 400
        page.close()


def test_two_runs_of_one_target_are_two_columns(tmp_path):
    run = Run(targets=[target("a", "amqp", "1")], statements=[row("amqp-0-9-1", WORDS, "a", "conforms")])
    text = scorecard([(run, tmp_path), (run, tmp_path)])
    data = json.loads(text.partition("const DATA = ")[2].partition(";</script>")[0])
    assert [found["name"] for found in data["targets"]] == ["a (run 1)", "a (run 2)"]


def test_a_command_to_copy_is_one_command(tmp_path):
    evil = target("a", "amqp", "1") | {"url": "amqp://h;reboot"}
    run = Run(targets=[evil], statements=[row("amqp-0-9-1", WORDS, "a", "conforms")])
    data = json.loads(scorecard([(run, tmp_path)]).partition("const DATA = ")[2].partition(";</script>")[0])
    assert data["targets"][0]["again"] == "'amqp://h;reboot'"


def test_a_damaged_conversation_is_one_line(tmp_path):
    run = Run(targets=[target("a", "amqp", "1")], statements=[row("amqp-0-9-1", WORDS, "a", "deviates")])
    run.tests = [{"id": "t[a]", "target": "a", "outcome": "deviates", "transcript": "evidence/x.json"}]
    run.save(tmp_path)
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "x.json").write_text("{}")
    result = CliRunner().invoke(app, ["scorecard", str(tmp_path)])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "holds no conversation" in result.stderr


def test_no_run_is_one_line(tmp_path):
    result = CliRunner().invoke(app, ["scorecard", str(tmp_path)])
    assert result.exit_code == 2
    assert "is no run" in result.stderr
