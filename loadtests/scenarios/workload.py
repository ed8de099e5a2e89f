"""A workload (harness/workload.py) as a scenario: all its flows at the same time, at their rates, sizes and guarantees.

What differs from the real thing: each flow has connections of its own; payloads below 28 octets grow to that, because
the ledger's stamp has to be in them; nothing is retained on the broker.
"""

from typing import Any

from mqproof.harness.workload import Flow, Workload, read
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.messages import SMALLEST
from mqproof.loadtests.settings import Settings

SHARES = 20  # into how many parts the sizes' shares are rounded


def stages(settings: Settings, base: Traffic) -> list[Traffic]:
    """Return one stage with every flow of the workload that the settings name. Raises BadWorkload."""
    workload = read(str(settings.workload["name"]))
    kinds = [_kind(settings, base, workload, flow) for flow in workload.flows]
    return [kinds[0].with_(beside=tuple(kinds[1:]))]


def _kind(settings: Settings, base: Traffic, workload: Workload, flow: Flow) -> Traffic:
    is_amqp = settings.target.protocol == "amqp"
    copies = max(1, round(flow.subscribers))
    devices = min(workload.devices, settings.users) if settings.users > 1 else workload.devices
    spread: dict[str, Any] = {"routes": 1}
    if copies > 1:
        spread = {"routes": copies, "pattern": "fan", "exchange": "fanout",
                  "route_names": tuple(f"{flow.name} {index + 1}" for index in range(copies))}  # fmt: skip
    else:
        spread["route_names"] = (flow.name,)
    return base.with_(
        label=flow.name, publishers=devices, rate=flow.rate * workload.devices, sizes=_sizes(flow),
        qos=flow.qos, confirm=flow.qos > 0, persistent=flow.persistent, durable=flow.persistent,
        keep_alive=workload.keep_alive if not is_amqp or workload.keep_alive else 0, topic=f"{flow.name}/",
        fleet="hold" if flow.qos == 0 and devices > 50 else "", **spread,
    )  # fmt: skip


def _sizes(flow: Flow) -> tuple[int, ...]:
    """Return the sizes in turn, each as often as its share says."""
    found: list[int] = []
    for octets, share in flow.payload:
        found += [max(SMALLEST, int(octets))] * max(1, round(share * SHARES))
    return tuple(found) if len(set(found)) > 1 else tuple(found[:1])
