"""What is behind the fixture ``saboteur``, imported when a test first asks for it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from mqproof.harness.chaos.saboteur import Saboteur
from mqproof.harness.chaos.scenario import Scenario
from mqproof.harness.targets.errors import TargetError
from mqproof.harness.targets.opening import open_all
from mqproof.harness.targets.target import BadTarget, Target


def opened(word: str) -> Iterator[Target]:
    """Yield the target that ``word`` names. Fails the test in one line where there is none."""
    with ExitStack() as resources:
        try:
            targets = open_all([word], resources)
        except (BadTarget, TargetError) as error:
            pytest.fail(f"saboteur_target: {error}", pytrace=False)
        if len(targets) > 1:
            pytest.fail(f"saboteur_target: {word} is several targets; write {word}-amqp or {word}-mqtt", pytrace=False)
        yield targets[0]


def standing(target: Target) -> Iterator[Saboteur]:
    """Yield a saboteur before the target, with no fault yet."""
    with Saboteur(target, Scenario(())) as saboteur:
        yield saboteur
