"""Profiles: what is known of a product and a range of its versions, one TOML file each in ``profiles/``.

``product``, optionally ``versions`` (``">=3.8, <4"``) and ``protocol``, say of which targets a profile speaks;
``capabilities`` lists what they offer without announcing it; ``[[known]]`` their known deviations. ``serial`` says that
the product is upset by clients that act at the same time: tests then come one after the other.
"""

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from mqproof.harness.targets.target import Target

LONGEST_NUMBER = 18  # digits of a version's part; a broker may send thousands, which int() refuses
_CONDITION = re.compile(r"(>=|<=|==|<|>)\s*([0-9.]+)")


def declared_capabilities(target: Target) -> frozenset[str]:
    """Return the capabilities that the profiles declare for this target's product and version."""
    return frozenset(name for _, profile in profiles_of(target) for name in profile.get("capabilities", ()))


def is_serial(target: Target) -> bool:
    """Return whether the profiles ask for one test after the other on this target."""
    return any(profile.get("serial", False) for _, profile in profiles_of(target))


def profiles_of(target: Target) -> list[tuple[str, dict[str, Any]]]:
    """Return name and content of each profile that speaks of this target."""
    return [
        (name, profile)
        for name, profile in all_profiles()
        if matches(profile, target.product, target.version, target.protocol)
    ]


def matches(profile: dict[str, Any], product: str, version: str, protocol: str) -> bool:
    """Return whether a profile speaks of this product, version and protocol (each only where it says so)."""
    return (
        str(profile.get("product", "")).lower() == product.lower()
        and profile.get("protocol", protocol) == protocol
        and in_range(version, str(profile.get("versions", "")))
    )


def in_range(version: str, conditions: str) -> bool:
    """Return whether ``version`` fulfils all ``conditions`` such as ``>=3.8, <4``; an empty text holds for all."""
    have = _numbers(version)
    for operator, bound in _CONDITION.findall(conditions):
        want = _numbers(bound)
        width = max(len(have), len(want))
        left, right = (numbers + (0,) * (width - len(numbers)) for numbers in (have, want))
        holds = {">=": left >= right, "<=": left <= right, "==": left == right, "<": left < right, ">": left > right}
        if not holds[operator]:
            return False
    return True


@cache
def all_profiles() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return name and content of every profile."""
    folder = files("mqproof.harness.targets").joinpath("profiles")
    if not folder.is_dir():
        return ()
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return tuple((name, tomllib.loads(folder.joinpath(name).read_text(encoding="utf-8"))) for name in names)


def _numbers(version: str) -> tuple[int, ...]:
    plain = version.partition("-")[0].partition("+")[0]
    return tuple(int(part[:LONGEST_NUMBER]) for part in re.findall("[0-9]+", plain)) or (0,)
