"""What the suite looks at after a restart differs between a broker that stores sessions and one that does not."""

import pytest
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.identify import identify
from mqproof.suites.recovery.test_mqtt_restart import Found, restarted

pytestmark = pytest.mark.real_broker
ALL = Found(True, [b"%d" % number for number in range(5)], [(b"begun", True, True)], [b"live"], [(b"kept", True)])


@pytest.mark.parametrize("version", [Version.V3_1_1, Version.V5_0])
@pytest.mark.parametrize(("persistence", "found"), [("true", ALL), ("false", Found())])
def test_a_broker_that_stores_nothing_is_found_out(version: Version, persistence: str, found: Found) -> None:
    with DRIVERS["mosquitto"].start(options={"persistence": persistence}) as broker:
        assert restarted(broker, identify(broker.targets[0]), version) == found
