"""Workloads: the files that load tests, forecasts and verdicts read."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqproof.harness.workload import FEATURES, BadWorkload, Flow, Workload, as_toml, names, parse, read

SMALL = 'schema = 1\ntitle = "t"\n[[flow]]\nname = "f"\ntopic = "a/{device}"\nrate = 2\npayload = 10\n'


def test_the_four_named_workloads_are_there_and_read_back() -> None:
    assert names() == ["dog-gps", "home-automation", "log-pipeline", "order-processing"]
    for name in names():
        assert read(name).rate > 0


def test_defaults_and_derived_values() -> None:
    workload = parse(SMALL.replace("payload = 10", "payload = [[10, 3], [50, 1]]"), "x.toml")
    flow = workload.flows[0]
    assert (workload.devices, workload.keep_alive, workload.tls, flow.qos) == (1, 60, False, 0)
    assert flow.payload == ((10, 0.75), (50, 0.25))
    assert flow.mean_payload == 20
    assert flow.key == "a.{device}"
    assert flow.topic_of(7) == "a/7"
    assert workload.rate == 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("rate = 2", "rats = 2"), "flow 1: there is no key 'rats'; the nearest is rate"),
        (("title", "devises = 3\ntitle"), "there is no key 'devises'; the nearest is devices"),
        (("rate = 2\n", ""), "flow 1: rate is missing"),
        (("rate = 2", "rate = -1"), "rate must be a number of at least 0"),
        (("rate = 2", "rate = nan"), "rate must be a number"),
        (("rate = 2", "rate = 0"), "flow f: rate must be more than 0"),
        (("payload = 10", "payload = true"), "payload must be octets"),
        (("payload = 10", "payload = [[10, 0]]"), "payload must be octets"),
        (("payload = 10", "payload = [1, 2]"), "payload must be octets"),
        (("payload = 10", "payload = 10\nqos = 3"), "flow f: qos must be 0, 1 or 2"),
        (("a/{device}", "a/#"), "no #, + or null"),
        (("title", 'needs = ["replays"]\ntitle'), "'replays' (in needs); the nearest is replay"),
        (("title", 'protocol = "stomp"\ntitle'), "protocol must be mqtt, amqp or any"),
        (("title", "devices = 0\ntitle"), "devices must be at least 1"),
        (("schema = 1", "schema = 2"), "schema must be 1, not 2"),
        (("[[flow]]", "[[float]]"), "at least one table [[flow]]"),
        (("schema = 1", "schema ="), "is no TOML"),
        (("schema = 1", f"schema = {'[' * 100_000}"), "is no TOML"),
    ],
)
def test_a_bad_workload_gets_one_line_that_helps(change: tuple[str, str], complaint: str) -> None:
    with pytest.raises(BadWorkload) as caught:
        parse(SMALL.replace(*change), "x.toml")
    message = str(caught.value)
    assert message.startswith("x.toml")
    assert complaint in message
    assert "\n" not in message


def test_a_name_that_is_neither_file_nor_workload_lists_the_workloads() -> None:
    with pytest.raises(BadWorkload, match="the named workloads are dog-gps, home-automation"):
        read("dog-gsp")


TEXTS = st.text(st.characters(exclude_characters="#+\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
FLOWS = st.builds(
    Flow,
    name=TEXTS,
    topic=TEXTS,
    rate=st.sampled_from([0.001, 0.5, 3.0, 1e6]),
    payload=st.sampled_from([((10, 1.0),), ((0, 0.25), (5000, 0.75))]),
    qos=st.integers(0, 2),
    exchange=TEXTS,
    properties=st.integers(0, 1000),
    retain=st.booleans(),
    persistent=st.booleans(),
    subscribers=st.sampled_from([0.0, 1.0, 2.5]),
)
WORKLOADS = st.builds(
    Workload,
    title=TEXTS,
    flows=st.lists(FLOWS, min_size=1, max_size=3).map(tuple),
    protocol=st.sampled_from(["any", "mqtt", "amqp"]),
    devices=st.integers(1, 10**6),
    consumers=st.integers(0, 10**6),
    keep_alive=st.integers(0, 65535),
    reconnects_per_day=st.sampled_from([0.0, 0.5, 24.0]),
    tls=st.booleans(),
    needs=st.lists(st.sampled_from(FEATURES), max_size=3).map(tuple),
)


@given(WORKLOADS)
def test_what_is_written_is_read_back(workload: Workload) -> None:
    assert parse(as_toml(workload), "x.toml") == workload


def test_every_key_is_explained_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "workloads.md").read_text()
    for entry in (*fields(Workload), *fields(Flow)):
        if entry.name != "flows":
            assert f"| `{entry.name}` |" in page
            assert entry.metadata["says"] in page
    assert all(f"`{name}`" in page for name in (*FEATURES, *names()))


def test_the_example_in_the_docs_is_a_workload() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "workloads.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    assert parse(example, "workloads.md").flows[0].topic_of(3) == "dogs/3/position"
