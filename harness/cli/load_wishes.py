"""What the command line of ``mqproof load`` asks for, and what it means in the words of a load run."""

import base64
import difflib
import os
import re
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mqproof.dissectors.amqp.codec import Unencodable, content, encode
from mqproof.dissectors.amqp.tables import PROPERTIES
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.opening import protocols_of
from mqproof.harness.targets.target import redact
from mqproof.harness.thresholds import Thresholds
from mqproof.loadtests.scenarios.catalogue import WATCH, WORKLOAD, names, scenario_of, with_defaults
from mqproof.loadtests.scenarios.presets import EXAMPLES, preset
from mqproof.loadtests.scenarios.unused import unused
from mqproof.loadtests.settings import WELCOME_EMAIL, BadSettings, Settings

UNTIL_INTERRUPTED = 30 * 86_400.0  # seconds of --watch without --duration
LARGEST_TEMPLATE = 16 << 20
UNSAID = {  # what options are that nobody gave, where that is not None
    "confirm": True, "persistent": False, "shared": False, "queue_type": "", "exchange": "", "mqtt_version": "",
}  # fmt: skip
HERE = "127.0.0.1"  # where pages and metrics are served


@dataclass(frozen=True, slots=True)
class Texts:
    """Options that have to be read."""

    variable_rate: str = ""
    sizes: str = ""
    payload_file: Path | None = None
    queue_arguments: Sequence[str] | None = None
    properties: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for. ``numbers``: fields of :class:`Settings`."""

    scenario: str | None
    targets: list[str]
    numbers: dict[str, Any]
    texts: Texts
    json_out: str
    out: Path | None
    password_file: Path | None
    thresholds: Thresholds
    is_allowed: bool
    scale: float = 1.0
    workload: str = ""
    is_watch: bool = False
    is_trace: bool = False
    is_both: bool = False
    unused: Sequence[str] = ()  # what the scenario has no use for

    @property
    def name(self) -> str:
        """The scenario, once it has been read."""
        assert self.scenario is not None, "read comes first"
        return self.scenario


def read(wishes: Wishes) -> Wishes:
    """Return the wishes with a scenario that exists, targets, and settings in numbers. Raises BadSettings."""
    scenario, targets = wishes.scenario, list(wishes.targets)
    own = WATCH if wishes.is_watch else WORKLOAD if wishes.workload else ""
    if own and scenario is not None:
        if scenario in names():
            option = "watch" if wishes.is_watch else "workload"
            raise BadSettings(f"--{option} is a scenario itself: leave out {scenario}")
        targets.insert(0, scenario)
    if not own and scenario is None:
        raise BadSettings(f"name a scenario: {', '.join(names())}")
    if wishes.is_both:
        raise BadSettings("--master and --worker contradict each other: choose one")
    scenario, preset_numbers = (own, {}) if own else _scenario(str(scenario), wishes.scale)
    given = {key: value for key, value in wishes.numbers.items() if value is not None}
    _refuse_two_ways(given, wishes)
    given |= _texts(wishes.texts)
    numbers = _numbers(scenario, preset_numbers | given, wishes)
    Settings(scenario, "amqp://localhost", **{**numbers, "trace": "x" if wishes.is_trace else ""})
    wishes.thresholds.check_wording()
    _refuse(scenario, numbers, targets, wishes)
    _try_to_listen(numbers)
    targets = targets or ["embedded"]
    useless = unused(
        scenario, numbers,
        given=[name for name, value in given.items() if value != UNSAID.get(name)],
        protocols={protocol for word in targets for protocol in protocols_of(word)},
    )  # fmt: skip
    used = {key: value for key, value in given.items() if key not in useless}
    numbers = _numbers(scenario, preset_numbers | used, wishes)
    return replace(wishes, scenario=scenario, targets=targets, numbers=numbers, unused=useless)


def _numbers(scenario: str, given: dict[str, Any], wishes: Wishes) -> dict[str, Any]:
    """Return the settings in numbers, with the scenario's own where nothing is given."""
    numbers = with_defaults(scenario, given)
    if wishes.workload:
        numbers["workload"] = {"name": wishes.workload}
    numbers.setdefault("duration", UNTIL_INTERRUPTED if wishes.is_watch else 10.0)
    return numbers


def fitting(wishes: Wishes) -> list[str]:
    """Return the targets' words, local brokers narrowed to the protocols that the scenario is for."""
    if wishes.name == WELCOME_EMAIL:
        return wishes.targets
    protocols = scenario_of(wishes.name).protocols
    words = []
    for word in wishes.targets:
        spoken = DRIVERS[word].protocols if word in DRIVERS else ()
        found = [f"{word}-{protocol}" for protocol in spoken if protocol in protocols]
        words += found if len(spoken) > 1 and len(found) < len(spoken) and found else [word]
    return words


def _scenario(name: str, scale: float) -> tuple[str, dict[str, Any]]:
    """Return the scenario that a name means, and what a benchmark's name says. Raises BadSettings."""
    if name in names():
        return name, {}
    found = preset(name, scale)
    if found is not None:
        return found
    near = difflib.get_close_matches(name, [*names(), *EXAMPLES], n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(names())}"
    raise BadSettings(f"no scenario is called {name!r}: {hint}")


def _refuse_two_ways(given: dict[str, Any], wishes: Wishes) -> None:
    """Raise BadSettings where one thing is said in two ways. ``given``: before the texts are read."""
    if wishes.texts.variable_rate and (found := [name for name in ("rate", "duration") if name in given]):
        raise BadSettings(f"--variable-rate says at what rate and how long: leave out --{' and --'.join(found)}")
    if wishes.texts.sizes and "payload" in given:
        raise BadSettings("--payload and --sizes: choose one")
    if wishes.scale != 1 and preset(str(wishes.scenario)) is None:
        raise BadSettings(f"--scale is for benchmarks with numbers in their names: {', '.join(EXAMPLES)}")


def _refuse(scenario: str, numbers: dict[str, Any], targets: list[str], wishes: Wishes) -> None:
    for word in targets:
        if word.startswith(("ws://", "wss://")):
            raise BadSettings(f"load does not go by WebSocket: name the mqtt:// URL instead of {redact(word)}")
    is_spread = numbers.get("processes", 1) > 1 or numbers["role"] != "local"
    if scenario == WELCOME_EMAIL and (is_spread or wishes.is_trace or numbers["web_port"] or numbers["metrics_port"]):
        raise BadSettings(
            "welcome-email compares what callers in one process feel: not with --processes, --master, --worker, "
            "--trace, --web-port or --metrics-port"
        )
    if numbers.get("processes", 1) > 1 and numbers["role"] != "local":
        raise BadSettings("--processes makes workers here, --master and --worker are for several machines: choose one")
    if numbers["stats_url"] and urlsplit(numbers["stats_url"]).scheme not in ("http", "https"):
        url = redact(numbers["stats_url"])
        raise BadSettings(f"--stats-url {url!r}: write the http:// URL of RabbitMQ's management or of metrics")
    is_one = numbers["role"] != "local" or numbers["web_port"] or numbers["metrics_port"] or numbers["stats_url"]
    if is_one and len(targets) != 1:
        raise BadSettings("--master, --worker, --web-port, --metrics-port and --stats-url are for one target: name it")
    if numbers["role"] == "worker" and "://" not in targets[0]:
        raise BadSettings("--worker needs the URL that the master has, too: the master does not send passwords")


def _try_to_listen(numbers: dict[str, Any]) -> None:
    """Raise BadSettings where a port that shall be served is not to be had, before anything is started."""
    served = [("--web-port", HERE, numbers["web_port"]), ("--metrics-port", HERE, numbers["metrics_port"])]
    served += [("--master-port", "", numbers["master_port"])] if numbers["role"] == "master" else []
    with ExitStack() as held:
        for option, host, port in served:
            try:
                if port:
                    held.enter_context(socket.create_server((host, port)))
            except OSError as error:
                raise BadSettings(f"{option} {port}: {os.strerror(error.errno or 0)}: name another port") from None


def _texts(texts: Texts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if texts.variable_rate:
        found["schedule"] = [_phase(part) for part in texts.variable_rate.split(",")]
        found["duration"] = sum(seconds for seconds, _ in found["schedule"])
    if texts.sizes:
        found["sizes"] = [_whole(part, "--sizes") for part in texts.sizes.split(",")]
    if texts.payload_file is not None:
        found["template"] = base64.b64encode(_contents(texts.payload_file)).decode()
    if texts.queue_arguments:
        pairs = (_pair(text, "--queue-argument") for text in texts.queue_arguments)
        found["queue_arguments"] = {key: _guessed(value) for key, value in pairs}
        _try_to_encode("--queue-argument", headers=found["queue_arguments"])
    if texts.properties:
        found["properties"] = dict(_property(*_pair(text, "--property")) for text in texts.properties)
        _try_to_encode("--property", **found["properties"])
    return found


def _property(name: str, value: str) -> tuple[str, Any]:
    """Return a message property with a value of its own type (section 1.8.3.1 and on). Raises BadSettings."""
    kinds = {field.key: field.type for field in PROPERTIES if field.key not in ("headers", "reserved")}
    key = name.replace("-", "_")
    if key not in kinds:
        raise BadSettings(f"--property {name}: what can be set is {', '.join(kinds)}")
    return key, value if kinds[key] == "shortstr" else _whole(value, f"--property {name}")


def _try_to_encode(option: str, **properties: Any) -> None:
    """Raise BadSettings where a value does not fit its place."""
    try:
        for frame in content("basic.publish", body=b"", properties=properties):
            encode(frame)
    except Unencodable as error:
        raise BadSettings(f"{option}: {error}") from None


def _contents(file: Path) -> bytes:
    try:
        octets = file.read_bytes()
    except OSError as error:
        raise BadSettings(f"--payload-file {file}: {error.strerror}") from None
    if not octets or len(octets) > LARGEST_TEMPLATE:
        raise BadSettings(f"--payload-file {file}: it has {len(octets)} octets; from 1 to {LARGEST_TEMPLATE} are fine")
    return octets


def _phase(text: str) -> list[float]:
    match = re.fullmatch(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", text.strip())
    if match is None or not float(match[2]):
        raise BadSettings(f"--variable-rate {text!r}: write RATE:SECONDS,RATE:SECONDS, such as 100:30,1000:10")
    return [float(match[2]), float(match[1])]


def _whole(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadSettings(f"{option} {text!r} is no number") from None


def _pair(text: str, option: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise BadSettings(f"{option} {text!r}: write KEY=VALUE")
    return key, value


def _guessed(value: str) -> bool | int | str:
    if value in ("true", "false"):
        return value == "true"
    return int(value) if re.fullmatch(r"-?\d+", value) else value
