"""Which tests run on which targets: by the statements that they claim, the folder they are in, and the options."""

from pathlib import Path

import pytest
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.plugin.state import Mqproof, options, state_of
from mqproof.harness.statements.registry import Statement, UnknownStatement, find

MQTT_SPECS = {"mqtt-3.1.1": Version.V3_1_1, "mqtt-5.0": Version.V5_0}
PROTOCOLS = {"amqp-0-9-1": "amqp", "mqtt-3.1.1": "mqtt", "mqtt-5.0": "mqtt"}
NO_TARGET = "no-target"


def claims(item: pytest.Item) -> list[Statement]:
    """Return the statements that this item examines: those of its version of MQTT where it has one.

    A case of a parametrized test that has marks of its own examines those alone: the function's marks are the sum of
    its cases. Raises UnknownStatement.
    """
    spec = _params(item).get("version")
    marks = getattr(getattr(item, "callspec", None), "marks", ())
    of_case = [find(key) for mark in marks if mark.name == "normative" for key in mark.args]
    return _of(spec, of_case) or _of(spec, _claimed(item))


def _of(spec: object, statements: list[Statement]) -> list[Statement]:
    return [statement for statement in statements if spec is None or statement.spec == spec]


def target_name(item: pytest.Item) -> str | None:
    """Return the name of the target that this item runs on; None for a test that is none of ours."""
    name = _params(item).get("target")
    return name if isinstance(name, str) else None


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give a test its targets and versions. Raises CollectError where it claims what does not exist."""
    definition = metafunc.definition
    if "target" not in metafunc.fixturenames and definition.get_closest_marker("normative") is None:
        return
    try:
        claimed = _claimed(definition)
    except UnknownStatement as error:
        raise pytest.Collector.CollectError(f"{definition.nodeid}: {error}") from None
    protocol = _protocol(claimed, definition.path)
    if protocol == "mqtt":
        _require(metafunc, "version")
    _require(metafunc, "target")
    pairs = _pairs(metafunc, claimed, protocol)
    if protocol == "mqtt":
        metafunc.parametrize("target, version", pairs, indirect=True)
    else:
        metafunc.parametrize("target", pairs, indirect=True)


def deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remove the items that ``--mqproof-statement``, ``-level`` and ``-section`` leave out."""
    wanted = [item for item in items if _has_target(item) and _is_selected(config, item)]
    if len(wanted) < len(items):
        kept = set(map(id, wanted))
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
        items[:] = wanted


def runs_on(state: Mqproof, name: str, claimed: set[str], is_sanity: bool) -> bool:
    """Return whether a test runs on the target ``name``: under a fault, only if the fault concerns it."""
    broken = state.faults.get(name)
    return broken is None or is_sanity or bool(broken & claimed)


def _pairs(metafunc: pytest.Metafunc, claimed: list[Statement], protocol: str | None) -> list[object]:
    state = state_of(metafunc.config)
    is_sanity = metafunc.definition.get_closest_marker("sanity") is not None
    specs = _mqtt_specs(claimed) if protocol == "mqtt" else [None]
    targets = [target for target in state.targets if protocol in (None, target.protocol)]
    if not targets:
        skip = pytest.mark.skip(reason=f"no --broker speaks {(protocol or 'anything').upper()}")
        return [pytest.param(*[NO_TARGET] * (2 if protocol == "mqtt" else 1), id=NO_TARGET, marks=skip)]
    return [
        pytest.param(target.name, *filter(None, [spec]), id="-".join(filter(None, [target.name, spec])))
        for target in targets
        for spec in specs
        if runs_on(state, target.name, {claim.key for claim in claimed if spec in (None, claim.spec)}, is_sanity)
    ]


def _mqtt_specs(claimed: list[Statement]) -> list[str | None]:
    specs = {statement.spec for statement in claimed}
    return [spec for spec in MQTT_SPECS if spec in specs or not specs]


def _claimed(item: pytest.Item) -> list[Statement]:
    keys = dict.fromkeys(key for marker in item.iter_markers("normative") for key in marker.args)
    return [find(key) for key in keys]


def _protocol(claimed: list[Statement], path: Path) -> str | None:
    protocols = {PROTOCOLS[statement.spec] for statement in claimed}
    if len(protocols) > 1:
        raise pytest.Collector.CollectError(f"{path.name}: a test claims statements of AMQP and of MQTT")
    if protocols:
        return protocols.pop()
    return next((part for part in reversed(path.parts) if part in ("amqp", "mqtt")), None)


def _require(metafunc: pytest.Metafunc, name: str) -> None:
    if name not in metafunc.fixturenames:
        metafunc.fixturenames.append(name)


def _has_target(item: pytest.Item) -> bool:
    """Return False for the placeholder that pytest makes where a test fits no target at all."""
    params = _params(item)
    return "target" not in params or isinstance(params["target"], str)


def _is_selected(config: pytest.Config, item: pytest.Item) -> bool:
    option = options(config)
    claimed = claims(item)
    ids = {name for claim in claimed for name in (claim.key, claim.id)}
    levels = {claim.level.upper() for claim in claimed}
    sections = "\n".join(f"{claim.id} {claim.section}".lower() for claim in claimed)
    return (
        (not option.mqproof_statement or bool(ids & set(option.mqproof_statement)))
        and (not option.mqproof_level or any(level.upper() in levels for level in option.mqproof_level))
        and (not option.mqproof_section or any(text.lower() in sections for text in option.mqproof_section))
    )


def _params(item: pytest.Item) -> dict[str, object]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec else {}
