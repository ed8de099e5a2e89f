"""What changed between two runs: verdicts by direction, numbers only where repeats say so."""

import io

import pytest
from mqproof.harness.compare import compare, load_group
from mqproof.harness.reporting.compare_text import markdown, page, print_comparison
from mqproof.harness.run import BadRun, Run
from rich.console import Console

TARGET = {"name": "t", "url": "amqp://t:1", "protocol": "amqp", "product": "P", "version": "1", "capabilities": []}
WORDS = "3.1.3.3/words"


def run(verdict: str | None = None, rate: float | None = None, overhead: float | None = None, version="1") -> Run:
    found = Run(targets=[TARGET | {"version": version}])
    if verdict:
        row = {"spec": "amqp-0-9-1", "id": WORDS, "target": "t", "verdict": verdict, "reason": f"it {verdict}"}
        found.statements.append(row)
    if rate is not None:
        metrics = {"delivery_rate_msg_s": rate, "latency_us": {"p99": rate}}
        found.loads.append({"scenario": "welcome", "metrics": metrics})
    if overhead is not None:
        found.analyses.append({"account": {"messages": {"amqp": {"all": {"overhead_per_delivered": overhead}}}}})
    return found


@pytest.mark.parametrize(
    ("before", "after", "direction"),
    [
        ("conforms", "deviates", "worse"),
        ("conforms", "known-deviation", "worse"),
        ("conforms", "unsupported", "worse"),
        ("deviates", "conforms", "better"),
        ("known-deviation", "conforms", "better"),
        ("conforms", "inconclusive", "unclear"),
        ("untested", "deviates", "unclear"),
    ],
)
def test_a_changed_verdict_has_a_direction(before, after, direction):
    change = compare([run(before)], [run(after)]).verdicts[0]
    assert (change.id, change.before, change.after, change.direction) == (WORDS, before, after, direction)
    assert change.level == "MUST"


def test_a_statement_that_only_one_side_knows_is_unclear():
    other = run("conforms")
    other.statements[0]["id"] = "basic/01"
    changes = compare([other], [run("deviates")]).verdicts
    assert [(change.id, change.direction) for change in changes] == [(WORDS, "unclear"), ("basic/01", "unclear")]


def test_a_specification_that_only_one_side_was_tested_on_is_named_once():
    found = compare([run()], [run("deviates")])
    assert (found.verdicts, found.one_sided) == ([], ["amqp-0-9-1"])


def test_the_terminal_shows_whole_ids_and_reasons():
    output = io.StringIO()
    print_comparison(compare([run("conforms")], [run("deviates")]), Console(file=output, width=80))
    assert f"MUST  amqp-0-9-1:{WORDS}  conforms -> deviates\n  it deviates" in output.getvalue()


def test_the_same_verdict_is_no_change():
    found = compare([run("deviates")], [run("deviates")])
    assert (found.verdicts, found.unchanged) == ([], 1)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([100], [1], "not enough runs"),
        ([100, 101, 102], [1, 2], "not enough runs"),
        ([100, 101, 102], [90, 95, 99], "worse"),
        ([100, 101, 102], [103, 104, 105], "better"),
        ([100, 101, 102], [90, 101, 120], "same"),
        ([100, 101, 102], [102, 103, 104], "same"),
    ],
)
def test_a_number_changed_only_where_the_repeats_do_not_overlap(before, after, verdict):
    found = compare([run(rate=value) for value in before], [run(rate=value) for value in after])
    rate = next(metric for metric in found.metrics if metric.name == "welcome metrics.delivery_rate_msg_s")
    assert rate.verdict == verdict
    latency = next(metric for metric in found.metrics if "p99" in metric.name)
    opposite = {"worse": "better", "better": "worse"}
    assert latency.verdict == opposite.get(verdict, verdict)  # more latency is worse, more throughput better


def test_overhead_is_compared():
    found = compare([run(overhead=10)] * 3, [run(overhead=20)] * 3)
    assert [(metric.name, metric.verdict) for metric in found.metrics] == [("amqp.all overhead_per_delivered", "worse")]


def test_markdown_and_page_show_the_change_and_escape_it():
    b = run("deviates", version="2")
    b.statements[0]["reason"] = "got <b>|x"
    found = compare([run("conforms")], [b])
    text = markdown(found)
    assert text.startswith("<!-- mqproof-compare -->\n### P 1 → P 2")
    assert f"| `amqp-0-9-1:{WORDS}` | MUST | conforms | deviates | got &lt;b>\\|x |" in text
    assert "got &lt;b&gt;|x" in page(found)
    assert "<b>" not in page(found)


def test_a_folder_of_runs_is_a_group(tmp_path):
    for name in ("1", "2", "3"):
        run("conforms").save(tmp_path / name)
    assert len(load_group(tmp_path)) == 3
    assert len(load_group(tmp_path / "1")) == 1
    with pytest.raises(BadRun, match="holds none"):
        load_group(tmp_path / "1" / "nothing")


def loaded(*loads: tuple[str, float, int]) -> Run:
    """Return a run with loads: protocol, delivery rate, payload."""
    protocols = sorted({protocol for protocol, _, _ in loads})
    found = Run(targets=[TARGET | {"name": f"t-{protocol}", "protocol": protocol} for protocol in protocols])
    for protocol, rate, payload in loads:
        metrics = {"delivery_rate_msg_s": rate, "latency_us": {"p50": 1.0, "p999": 2.0}}
        settings = {"payload": payload, "product": f"P {rate}"}
        found.loads.append({"scenario": "w", "target": f"t-{protocol}", "settings": settings, "metrics": metrics})
    return found


def test_loads_on_two_targets_are_no_repeats_of_each_other():
    side = [loaded(("amqp", 10.0, 64), ("mqtt", 100.0, 64)) for _ in range(2)]
    rates = {m.name: m.before for m in compare(side, side).metrics if "rate" in m.name}
    name = "metrics.delivery_rate_msg_s"
    assert rates == {f"w amqp {name}": (10.0, 10.0), f"w mqtt {name}": (100.0, 100.0)}


def test_loads_with_other_settings_are_no_repeats_and_not_compared():
    found = compare([loaded(("amqp", 10.0, 64), ("amqp", 5.0, 256))], [loaded(("amqp", 11.0, 64))])
    rates = {m.name: (m.before, m.after) for m in found.metrics if "rate" in m.name}
    assert rates == {"w amqp (payload 64) metrics.delivery_rate_msg_s": ((10.0,), (11.0,))}
    assert found.one_sided == ["w amqp (payload 256)"]


def test_the_terminal_tells_the_percentiles_apart():
    output = io.StringIO()
    side = [loaded(("amqp", 10.0, 64)) for _ in range(3)]
    print_comparison(compare(side, side), Console(file=output, width=80))
    words = " ".join(output.getvalue().split())
    assert "…" not in words
    assert "latency p50" in words
    assert "latency p99.9" in words
