"""What each scenario shows beyond rates, latencies and the ledger: figures with units, from what was measured."""

from typing import Any

from mqproof.loadtests.book import Book

DAY = 86_400
Figure = dict[str, Any]  # name, value, unit


def figure(name: str, value: float | None, unit: str) -> list[Figure]:
    """Return one figure, or none where nothing was measured."""
    if value is None:
        return []
    return [{"name": name, "value": round(value, 3), "unit": unit}]


def none(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return what every scenario shows of the broker."""
    return broker(results)


def broker(results: list[dict[str, Any]]) -> list[Figure]:
    """Return what the broker spent, at its highest in any stage."""
    found: list[Figure] = []
    for key, name, unit in (
        ("memory_per_connection", "broker memory per connection", "B"),
        ("memory_per_queued_message", "broker memory per queued message", "B"),
        ("depth_peak", "deepest queues", "messages"),
    ):
        values = [stage["broker"][key] for stage in results if stage["broker"].get(key)]
        found += figure(name, max(values, default=None), unit)
    return found


def takeover(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return how long a crashed worker's task waited for another, and how many were done twice."""
    took = total.latencies.get("takeover")
    found = figure("time to takeover, median", _ms(took, 50), "ms")
    found += figure("time to takeover, longest", _ms(took, 100), "ms")
    findings = total.ledger.findings()
    return [*found, *figure("tasks done twice", findings.duplicated, "messages"), *broker(results)]


def efficiency(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return each stage's throughput as a share of what its workers would do without getting in each other's way."""
    found: list[Figure] = []
    alone = results[0]["metrics"]["delivery_rate_msg_s"]
    for stage in results:
        workers, rate = int(stage["stage"].split()[0]), stage["metrics"]["delivery_rate_msg_s"]
        if rate and alone:
            found += figure(f"efficiency, {stage['stage']}", 100 * rate / (workers * alone), "%")
    return found + broker(results)


def spike(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return the backlog of the spike, how long it took to drain, and what publishers waited for confirms meanwhile."""
    rows = results[0]["timeline"]
    backlog, waiting, deepest, at_deepest = 0, [], 0, 0.0
    for row in rows:
        backlog += row["published"] - row["delivered"]
        waiting.append((row["s"] + row["seconds"], backlog))
        if backlog > deepest:
            deepest, at_deepest = backlog, row["s"] + row["seconds"]
    drained = next((moment for moment, left in waiting if moment > at_deepest and left <= max(1, deepest // 100)), None)
    most = max((row["published"] / row["seconds"] for row in rows), default=0.0)
    confirms = [(row["published"] / row["seconds"] > most / 2, row["confirm_max_us"]) for row in rows]
    slow, calm = ([us for is_spike, us in confirms if us and is_spike is wanted] for wanted in (True, False))
    found = figure("deepest backlog", deepest, "messages")
    found += figure("time to drain", drained - at_deepest if drained is not None else None, "s")
    found += figure("longest confirm in the spike", max(slow) / 1000 if slow else None, "ms")
    found += figure("longest confirm outside of it", max(calm) / 1000 if calm else None, "ms")
    return found + broker(results)


def routing(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return each route's throughput, and what went astray."""
    found: list[Figure] = []
    lasted = max(1e-9, sum(row["seconds"] for row in results[0]["timeline"] if row["published"]))
    routes: dict[str, int] = {}
    for (route, _), arrived in total.ledger.arrivals.items():
        routes[route] = routes.get(route, 0) + len(arrived.seen)
    for route, count in sorted(routes.items()):
        found += figure(f"throughput, {route}", count / lasted, "msg/s")
    return [*found, *figure("misrouted", total.ledger.findings().unexpected, "messages"), *broker(results)]


def side_by_side(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return each stage's throughput as a share of the first one's."""
    found: list[Figure] = []
    first = results[0]["metrics"]["delivery_rate_msg_s"]
    for stage in results:
        rate = stage["metrics"]["delivery_rate_msg_s"]
        found += figure(f"throughput, {stage['stage']}", rate, "msg/s")
        if rate and first:
            found += figure(f"of the first stage's, {stage['stage']}", 100 * rate / first, "%")
    return found + broker(results)


def fan_in(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return the rate at the dashboard and how many connections stood."""
    found = figure("fan-in rate", results[0]["metrics"]["delivery_rate_msg_s"], "msg/s")
    held = results[0]["broker"].get("connections_peak") or len(total.ledger.publishers) + 1
    return [*found, *figure("connections held", held, "connections"), *broker(results)]


def duplicates(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return how often connections ended, and what came twice."""
    found = figure("connections that ended", total.counts.get("publishers reconnected", 0), "connections")
    return [*found, *figure("delivered twice", total.ledger.findings().duplicated, "messages"), *broker(results)]


def fleet(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return what a device has on the wire in a day, and what its connection costs the broker."""
    sums = total.figures
    found = figure("connections held", sums.get("held: devices"), "connections")
    found += figure("connections per second", _per_second(sums, "connect"), "1/s")
    seconds = sums.get("wire: device seconds")
    if seconds:
        a_day = sums["wire: octets"] / seconds * DAY
        found += figure("octets per device and day on the wire, at this pace", a_day, "B")
    found += figure("time to connect, p99", _ms(total.latencies.get("connect"), 99), "ms")
    return found + broker(results)


def storm(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return how fast everyone came back, how long one had to wait, and who did not come back."""
    name = "reconnect of everyone"
    back = total.latencies.get(name)
    found = figure("reconnections per second", _per_second(total.figures, name), "1/s")
    found += figure("storms", total.counts.get("storms"), "")
    found += figure("everyone is back after, median", _ms(total.latencies.get("everyone is back"), 50), "ms")
    found += figure("time to connect, median", _ms(back, 50), "ms")
    found += figure("time to connect, p99", _ms(back, 99), "ms")
    found += figure("failed connections", total.counts.get(f"{name}: failures", 0), "connections")
    return found + broker(results)


def spread(results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return the delivery rate and the time from the first subscriber's copy to the last one's."""
    apart = total.latencies.get("first to last subscriber")
    found = figure("delivery rate", results[0]["metrics"]["delivery_rate_msg_s"], "copies/s")
    found += figure("first to last subscriber, median", _ms(apart, 50), "ms")
    return [*found, *figure("first to last subscriber, p99", _ms(apart, 99), "ms"), *broker(results)]


def _per_second(sums: dict[str, float], name: str) -> float | None:
    seconds = sums.get(f"{name}: seconds")
    return sums[f"{name}: devices"] / seconds if seconds else None


def _ms(latencies: Any, percentile: float) -> float | None:
    at = latencies.at(percentile) if latencies is not None else None
    return at / 1000 if at is not None else None
