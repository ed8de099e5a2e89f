"""The timeline: what happened when, in as many moments as fit into memory."""

import numpy as np
from mqproof.harness.targets.target import parse_url
from mqproof.loadtests.timeline import MOST, Timeline
from mqproof.loadtests.watching import MOST_SAMPLES, Watch


def test_a_run_of_days_has_no_more_moments_than_one_of_an_hour() -> None:
    timeline, buckets, days = Timeline(1.0), np.array([0, 0, 3]), 3 * 86_400
    for second in range(0, days, 7):
        timeline.count("published", second, 2)
        timeline.sampled(second, buckets)
        timeline.confirmed(second, 0.5 if second == 7000 else 0.1)
    rows = timeline.rows()
    assert MOST / 2 <= len(rows) <= MOST
    assert sum(row["published"] for row in rows) == 2 * len(range(0, days, 7))
    assert {row["p50_us"] for row in rows} == {2}
    (slow,) = [row for row in rows if row["confirm_max_us"] == 500_000]
    assert slow["s"] <= 7000 < slow["s"] + slow["seconds"]
    assert rows[-1]["s"] < days <= rows[-1]["s"] + 2 * rows[-1]["seconds"]


def test_workers_whose_moments_differ_in_length_merge() -> None:
    short, long = Timeline(1.0), Timeline(1.0)
    short.count("delivered", 5, 1)
    long.count("delivered", 5, 10)
    long.count("delivered", MOST + 1, 100)
    for one, other in ((short, long), (long, short)):
        merged = Timeline.from_plain(one.plain())
        merged.merge(Timeline.from_plain(other.plain()))
        assert [row["delivered"] for row in merged.rows() if row["delivered"]] == [11, 100]


def test_samples_of_the_broker_are_thinned_out() -> None:
    watch = Watch(parse_url("mqtt://localhost"))
    for second in range(20 * MOST_SAMPLES):
        watch._keep({"s": float(second)})
    moments = [sample["s"] for sample in watch.samples]
    assert MOST_SAMPLES / 2 <= len(moments) < MOST_SAMPLES
    assert len(set(np.diff(moments[:-10]))) == 1
