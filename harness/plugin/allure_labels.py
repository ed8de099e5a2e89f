"""What Allure shows of a test: the specification as epic, the section as feature, the statement as story."""

from collections.abc import Callable, Sequence

import allure_commons
import pytest
from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import Parameter, TestResult
from mqproof.harness.evidence import as_text, masked, secrets_of, wire_data
from mqproof.harness.plugin.accusation import Outcome
from mqproof.harness.plugin.selection import claims, target_name
from mqproof.harness.plugin.state import options, state_of
from mqproof.harness.reporting.slices import slice_of
from mqproof.harness.reporting.svg import sequence
from mqproof.harness.statements.links import link_of
from mqproof.harness.statements.registry import Statement
from mqproof.harness.wires.base import Transcript

SEVERITIES = {"MUST": "critical", "SHOULD": "normal", "MAY": "minor"}
HARNESS_ERROR = "harness error"  # how the reason begins where the fault is ours
PCAP = "application/vnd.tcpdump.pcap"
TITLES = {"amqp-0-9-1": "AMQP 0-9-1", "mqtt-3.1.1": "MQTT 3.1.1", "mqtt-5.0": "MQTT 5.0"}


def label(item: pytest.Item) -> None:
    """Add Allure's labels and links to a test that claims statements."""
    claimed = claims(item)
    labels: dict[tuple[str, str], None] = {("target", str(target_name(item))): None} if claimed else {}
    for statement in claimed:
        labels["epic", TITLES[statement.spec]] = None
        labels["feature", statement.section] = None
        labels["story", f"{statement.id}: {statement.summary}"] = None
        item.add_marker(pytest.mark.allure_link(link_of(statement), link_type="link", name=statement.key))
    if claimed:
        labels["severity", min((severity(statement) for statement in claimed), key=_rank)] = None
    for kind, text in labels:
        item.add_marker(pytest.mark.allure_label(text, label_type=kind))


def severity(statement: Statement) -> str:
    """Return Allure's word for the level of a statement; what a broker's own documentation promises is ``normal``."""
    return SEVERITIES.get(statement.level.removesuffix(" NOT"), "normal")


def attach(
    item: pytest.Item, transcripts: Sequence[Transcript], verdict: str, outcome: Outcome, secrets: tuple[str, ...]
) -> None:
    """Attach conversations, expected and actual to the running test."""
    import allure

    target = state_of(item.config).target(str(target_name(item)))
    allure.dynamic.parameter("broker", target.redacted_url, excluded=True)
    category = HARNESS_ERROR if outcome.reason.startswith(HARNESS_ERROR) else verdict
    allure.dynamic.label("verdict", category)  # type: ignore[no-untyped-call]
    summary = [f"statement  {statement.key}: {statement.summary}" for statement in claims(item)]
    summary.append(f"verdict    {verdict}")
    if outcome.expected is not None:
        summary += [f"expected   {outcome.expected}", f"actual     {outcome.actual}"]
    summary += [f"reason     {outcome.reason}"] if outcome.reason else []
    again = (target.driver and target.name) or target.redacted_url.replace(":***@", "@")
    summary.append(f"repeat     mqproof test {again} -k {item.name.partition('[')[0]}")
    wires = [wire_data(transcript, secrets) for transcript in transcripts]
    parts = [("verdict", masked("\n".join(summary), secrets)), *((wire["title"], as_text([wire])) for wire in wires)]
    for name, text in parts:
        allure.attach(text, name=name, attachment_type=allure.attachment_type.TEXT)
    if wires:
        allure.attach(sequence(wires), name="conversation", attachment_type=allure.attachment_type.SVG)
    capture = slice_of(transcripts, target.protocol, secrets)
    if capture:
        allure.attach(capture, "capture", PCAP, "pcapng")


class Results(AllureFileLogger):
    """Writes results with every secret masked: Allure takes what an exception says from the exception itself.

    ``secrets`` is called when the first result is written. With ``leaves_out_fixtures`` there is no file for each
    fixture: those are most of the files, and say nothing.
    """

    def __init__(self, folder: str, secrets: Callable[[], tuple[str, ...]], leaves_out_fixtures: bool) -> None:
        super().__init__(folder)  # type: ignore[no-untyped-call]
        self._secrets = secrets
        self._leaves_out_fixtures = leaves_out_fixtures

    @allure_commons.hookimpl
    def report_result(self, result: TestResult) -> None:
        """Name the case where a value shows as its type alone: Allure takes tests of equal parameters for retries."""
        told = [parameter for parameter in result.parameters if not parameter.value.startswith("<")]
        if len(told) < len(result.parameters):
            case = result.name.partition("[")[2].removesuffix("]")
            result.parameters = [*told, Parameter(name="case", value=case)]
        if result.statusDetails is not None:
            for name in ("message", "trace"):
                text = getattr(result.statusDetails, name)
                setattr(result.statusDetails, name, text and masked(text, self._secrets()))
        super().report_result(result)  # type: ignore[no-untyped-call]

    @allure_commons.hookimpl
    def report_container(self, container: object) -> None:
        """Write it, unless fixtures are left out."""
        if not self._leaves_out_fixtures:
            super().report_container(container)  # type: ignore[no-untyped-call]


def take_over_writing(config: pytest.Config) -> None:
    """Put :class:`Results` in the place of Allure's own writer until pytest ends."""
    manager = allure_commons.plugin_manager
    state = state_of(config)
    is_run = state.run_dir is not None
    for writer in [plugin for plugin in manager.get_plugins() if type(plugin) is AllureFileLogger]:
        name = manager.get_name(writer)
        ours = Results(options(config).allure_report_dir, lambda: secrets_of(state.targets), is_run)
        manager.unregister(writer)
        manager.register(ours, name)

        def restore(writer: object = writer, ours: object = ours, name: str | None = name) -> None:
            manager.unregister(ours)
            manager.register(writer, name)

        state.resources.callback(restore)


def _rank(severity: str) -> int:
    return ("critical", "normal", "minor").index(severity)
