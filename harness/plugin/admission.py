"""Whether a test may run on its target: asked before its fixtures, and before its conversation begins ahead of it."""

import pytest
from mqproof.harness.plugin.selection import MQTT_SPECS, NO_TARGET, target_name
from mqproof.harness.plugin.state import Mqproof, state_of
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Unsupported, Untested


class Admission:
    """Asks of each test whether it may run on its target: after the wrappers around a test's setup, before fixtures."""

    def __init__(self, config: pytest.Config) -> None:
        self.state = state_of(config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Raise Unsupported or Untested for a test that cannot or must not run."""
        admit(item, self.state)


def admit(item: pytest.Item, state: Mqproof) -> None:
    """Raise Unsupported or Untested for a test that cannot or must not run on its target."""
    name = target_name(item)
    if name in (None, NO_TARGET):
        return
    target = state.target(str(name))
    lacks_version = _lacks_version(item, target)
    if lacks_version:
        raise Unsupported(lacks_version)
    for marker in item.iter_markers("needs"):
        for capability in marker.args:
            if capability in target.untold:
                raise Untested(f"the broker does not say whether it offers {capability}, and no probe can tell")
            if capability not in target.capabilities:
                raise Unsupported(f"the broker does not offer {capability}")
    if item.get_closest_marker("destructive") and not (target.is_ours or state.destructive):
        raise Untested("disturbs other users: needs a broker that mqproof starts itself, or --destructive")


def _lacks_version(item: pytest.Item, target: Target) -> str:
    """Return why the target cannot run an MQTT test of this version; empty when it can, or never said."""
    spec = getattr(item, "callspec").params.get("version")  # noqa: B009
    offered = target.capabilities & MQTT_SPECS.keys()
    if spec is None or not offered or spec in offered:
        return ""
    return f"the broker does not offer {spec}, only {', '.join(sorted(offered))}"
