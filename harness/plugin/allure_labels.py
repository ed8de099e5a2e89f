"""What Allure shows of a test: the specification as epic, the section as feature, the statement as story."""

from collections.abc import Sequence

import pytest
from mqproof.harness.evidence import masked, wire_data
from mqproof.harness.plugin.accusation import Outcome
from mqproof.harness.plugin.selection import claims, target_name
from mqproof.harness.plugin.state import options, state_of
from mqproof.harness.reporting.svg import sequence
from mqproof.harness.statements.links import link_of
from mqproof.harness.statements.registry import Statement
from mqproof.harness.wires.base import Transcript

SEVERITIES = {"MUST": "critical", "SHOULD": "normal", "MAY": "minor"}
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
    """Attach conversations, expected and actual to the running test; does nothing where Allure is not in use."""
    if not getattr(options(item.config), "allure_report_dir", None):
        return
    import allure

    target = state_of(item.config).target(str(target_name(item)))
    allure.dynamic.parameter("broker", target.redacted_url, excluded=True)
    allure.dynamic.label("verdict", verdict)  # type: ignore[no-untyped-call]
    summary = [f"statement  {statement.key}: {statement.summary}" for statement in claims(item)]
    summary.append(f"verdict    {verdict}")
    if outcome.expected is not None:
        summary += [f"expected   {outcome.expected}", f"actual     {outcome.actual}"]
    summary.append(f"reason     {outcome.reason}")
    again = (target.driver and target.name) or target.redacted_url.replace(":***@", "@")
    summary.append(f"repeat     mqproof test {again} -k {item.name.partition('[')[0]}")
    parts = [("verdict", "\n".join(summary)), *((wire.title, wire.render()) for wire in transcripts)]
    for name, text in parts:
        allure.attach(masked(text, secrets), name=name, attachment_type=allure.attachment_type.TEXT)
    if transcripts:
        picture = sequence([wire_data(transcript, secrets) for transcript in transcripts])
        allure.attach(picture, name="conversation", attachment_type=allure.attachment_type.SVG)


def _rank(severity: str) -> int:
    return ("critical", "normal", "minor").index(severity)
