"""The Allure page: no request leaves it, its data is there before the app, and what is missing is said in one line."""

import json
import os
import stat
import subprocess

import pytest
from mqproof.harness.ledger import ASKED
from mqproof.harness.reporting import allure
from mqproof.harness.reporting.allure import Reported, ReportUnavailable, configuration, render, repaired
from mqproof.harness.reporting.allure_measured import performance, write_measured
from mqproof.harness.run import Run

PAGE = """<!DOCTYPE html><html><head><title>x</title></head><body>
<script async src="https://www.googletagmanager.com/gtag/js?id=G-X"></script>
    <script>
        window.dataLayer = [];
        gtag('config', 'G-X');
    </script>
<script>keep()</script></body></html>"""
TARGET = {"name": "a:1", "url": "amqp://a:1", "protocol": "amqp", "product": "P", "version": "1", "capabilities": []}


def test_the_page_calls_nobody_and_keeps_the_rest():
    page = repaired(PAGE)
    assert "googletagmanager" not in page
    assert "gtag" not in page
    assert "<script>keep()</script>" in page


def test_the_data_is_defined_before_anything_else():
    assert repaired(PAGE).startswith("<!DOCTYPE html><html><head><script>window.allureReportData = ")


def some_run(tmp_path) -> Reported:
    (tmp_path / "allure-results").mkdir()
    result = {"uuid": "1", "name": "test", "status": "passed", "labels": [{"name": "target", "value": "a:1"}]}
    (tmp_path / "allure-results" / "1-result.json").write_text(json.dumps(result))
    return Reported(Run(targets=[TARGET]), tmp_path)


def test_the_configuration_names_environments_and_categories(tmp_path):
    text = configuration([some_run(tmp_path)], tmp_path / "out")
    assert "\"a_1\": { name: \"a:1 (P 1)\"" in text
    assert "label.value === \"a:1\"" in text
    assert '"verdict": "known-deviation"' in text
    assert "historyPath" not in text


def test_a_history_can_be_named_and_each_has_a_run_once(tmp_path):
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    runs = [Reported(Run(), tmp_path)]
    texts = [configuration(runs, tmp_path / "out", history) for history in (one, other, one)]
    assert [f'"historyPath": "{one}"' in text for text in texts] == [True, False, True]
    assert ['"appendHistory": true' in text for text in texts] == [True, True, False]


def test_runs_that_lie_together_share_a_history(tmp_path):
    folder = tmp_path / "mqproof-runs" / "one"
    folder.mkdir(parents=True)
    first, again = (configuration([Reported(Run(targets=[TARGET]), folder)], tmp_path / "out") for _ in range(2))
    assert f'"historyPath": "{folder.parent}/history.jsonl"' in first
    assert '"appendHistory": true' in first
    assert '"appendHistory": false' in again  # a run stands in the history once, however often it is shown


def test_a_run_without_results_is_refused(tmp_path):
    with pytest.raises(ReportUnavailable, match="no allure-results"):
        render([Reported(Run(), tmp_path)], tmp_path / "page.html")


def fake_node(tmp_path, script: str):
    node = tmp_path / "wheel" / "bin" / "node"
    node.parent.mkdir(parents=True)
    node.write_text(f"#!/bin/sh\n{script}\n")
    node.chmod(node.stat().st_mode | stat.S_IXUSR)
    return node


def test_an_npm_that_cannot_be_reached_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    node = fake_node(tmp_path, "echo 'npm error code ENOTFOUND' >&2; exit 1")
    monkeypatch.setattr(allure, "_node", lambda: node)
    with pytest.raises(ReportUnavailable, match="cannot be fetched from npm: npm error code ENOTFOUND") as caught:
        render([some_run(tmp_path)], tmp_path / "page.html")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path / "cache" / "mqproof") == []


def test_an_npm_that_never_ends_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(allure, "_node", lambda: fake_node(tmp_path, "exit 0"))

    def never(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("npm", 1)

    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(ReportUnavailable, match="npm did not end within"):
        render([some_run(tmp_path)], tmp_path / "page.html")


def test_the_lock_file_names_no_address():
    from importlib.resources import files

    lock = json.loads(files("mqproof.harness.reporting").joinpath("package-lock.json").read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert len(packages) > 100
    assert all("integrity" in package for package in packages)
    assert "://" not in json.dumps(lock)


def measured_run() -> Run:
    account = {"bytes": {"by_layer": {"tcp": 10, "payload": 30}}, "messages": {"mqtt": {"qos1": {}}}}
    account["messages"]["mqtt"]["qos1"]["overhead_per_delivered"] = 50.5
    load = {"scenario": "welcome", "target": "a:1", "metrics": {"latency_us": {"p99": 900}}, "ledger": {"lost": 2},
            "thresholds": [{"rule": "confirmed but lost", "value": 2, "bound": 0, "passes": False}]}
    analysis = {"target": "a:1", "file": "captures/a.pcapng", "account": account}
    return Run(targets=[TARGET], analyses=[analysis], loads=[load])


def test_captures_and_loads_stand_beside_the_suites(tmp_path):
    write_measured(measured_run(), tmp_path)
    found = [json.loads(path.read_text()) for path in tmp_path.glob("*-result.json")]
    results = {result["name"]: result for result in found}
    assert results["captures/a.pcapng"]["status"] == "passed"
    welcome = results["welcome"]
    assert (welcome["status"], welcome["statusDetails"]["message"]) == ("failed", "confirmed but lost: 2, bound 0")
    sources = [attachment["source"] for result in results.values() for attachment in result["attachments"]]
    assert sources
    assert all((tmp_path / source).stat().st_size > 0 for source in sources)


@pytest.mark.parametrize(
    ("ledger", "message"),
    [
        ({"lost": 0, "duplicated": 3, "lost_by_cause": {}}, "3 duplicated"),
        ({"lost": 7, "duplicated": 0, "lost_by_cause": {ASKED: 7}}, f"7 lost: {ASKED}"),
    ],
)
def test_a_load_that_shows_what_it_was_meant_to_has_passed(tmp_path, ledger, message):
    kept = {"rule": "lost", "value": 7, "bound": 9, "passes": True}
    load = {"scenario": "worker-crash", "target": "a:1", "metrics": {}, "ledger": ledger, "thresholds": [kept]}
    write_measured(Run(targets=[TARGET], loads=[load]), tmp_path)
    (file,) = tmp_path.glob("*-result.json")
    result = json.loads(file.read_text())
    assert (result["status"], result["statusDetails"]) == ("passed", {"message": message})


def test_metrics_are_named_and_know_what_is_better(tmp_path):
    write_measured(measured_run(), tmp_path)
    files = [json.loads(path.read_text()) for path in tmp_path.glob("*-perf.json")]
    samples = {sample["key"]: sample for file in files for sample in file}
    named = performance([measured_run()])["metrics"]
    assert samples["mqtt.qos1 overhead_per_delivered"]["value"] == 50.5
    assert named["mqtt.qos1 overhead_per_delivered"]["unit"] == "B"
    assert named["welcome metrics.latency_us.p99"] == {
        "title": "welcome metrics.latency_us.p99", "unit": "µs", "better": "lower", "group": "load",
    }  # fmt: skip
    assert samples.keys() == named.keys()
