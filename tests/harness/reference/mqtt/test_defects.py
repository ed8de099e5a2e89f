"""The registry of defects against the source: each name is asked for somewhere, and nothing else is."""

import re
from pathlib import Path

import pytest
from mqproof.harness.reference import mqtt
from mqproof.harness.reference.mqtt.defects import DEFECTS, check_known

ASKED = re.compile(r"""defective\("([a-z0-9-]+)"\)""")


def test_every_defect_is_asked_for_and_known():
    (folder,) = mqtt.__path__
    asked = {name for path in Path(folder).glob("*.py") for name in ASKED.findall(path.read_text())}
    assert asked == DEFECTS.keys()


def test_unknown_defect_is_refused():
    with pytest.raises(ValueError, match="no-such-thing"):
        check_known(frozenset({"no-such-thing", "will-lost"}))
