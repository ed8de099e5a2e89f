"""Runs each test between two questions: may it run on this target, and what does its end say of the broker."""

import json
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest
from mqproof.harness.evidence import as_text, masked, masked_data, save_transcripts, secrets_of, wire_data
from mqproof.harness.plugin.accusation import Outcome, classify, comparison, seen
from mqproof.harness.plugin.fixtures import transcripts_key
from mqproof.harness.plugin.judge import Judgement, judge
from mqproof.harness.plugin.presence import AFFECTED, seen_with
from mqproof.harness.plugin.selection import NO_TARGET, claims, target_name
from mqproof.harness.plugin.state import state_of
from mqproof.harness.run import write_atomically
from mqproof.harness.verdicts import Untested, Verdict

# Everything but an interruption; pytest's own skip, xfail and fail are no subclasses of Exception.
ENDINGS = (Exception, pytest.skip.Exception, pytest.xfail.Exception, pytest.fail.Exception)
PROPERTY = "mqproof"  # the name of the user property that carries a test's record
PLAN = ".plan.json"  # what a worker planned, kept while tests run


@dataclass(slots=True)
class Record:
    """What is known of one running test."""

    test: str
    outcome: Outcome = field(default_factory=lambda: Outcome(Verdict.CONFORMS))
    duration: float = 0.0
    judgement: Judgement | None = None
    is_shown: bool = False


record_key = pytest.StashKey[Record]()


class Running:
    """The hooks around setup, call and teardown of each test of ours."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.state = state_of(config)
        self.secrets: tuple[str, ...] = ()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn the secrets; the first worker also writes down what is planned, for the case that one crashes."""
        self.secrets = secrets_of(self.state.targets)
        if self.state.worker == "gw0" and self.state.run_dir is not None:
            plan = {item.nodeid: planned(item) for item in session.items if target_name(item) is not None}
            write_atomically(self.state.run_dir / PLAN, json.dumps(plan))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Begin a record; a fixture that fails accuses nobody."""
        name = target_name(item)
        if name in (None, NO_TARGET):
            return (yield)
        item.stash[record_key] = Record(test_id(item))
        try:
            return (yield)
        except ENDINGS as error:
            self._end(item, error, "setup")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Classify how the test ended."""
        seen.last = None
        if record_key not in item.stash:
            return (yield)
        try:
            return (yield)
        except ENDINGS as error:
            self._end(item, error, "call")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Let a cleanup that fails spoil a good result, but never a deviation that was seen."""
        if record_key not in item.stash:
            return (yield)
        try:
            return (yield)
        except ENDINGS as error:
            record = item.stash[record_key]
            if record.outcome.verdict in (Verdict.CONFORMS, Verdict.UNSUPPORTED, Verdict.UNTESTED):
                record.outcome = classify(error, item, "teardown", None)
            raise

    @pytest.hookimpl(wrapper=True, trylast=True)  # innermost: what others read is masked already
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach the record to the last report of the test, with the transcripts where it did not conform."""
        report = yield
        record = item.stash.get(record_key, None)
        if record is None:
            return report
        record.duration += call.duration
        is_failed_end = call.excinfo is not None and call.when in ("setup", "call")
        if is_failed_end and isinstance(call.excinfo.value, pytest.skip.Exception):  # type: ignore[union-attr]
            self._note_plain_skip(record, str(call.excinfo.value))  # type: ignore[union-attr]
        is_last = call.when == "teardown"
        if report.failed or is_failed_end or (is_last and self.state.keeps_all_evidence and not record.is_shown):
            self._show(item, record, report)
        if is_last:
            report.user_properties.append((PROPERTY, self._data(item, record)))
        return report

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        """Remember what was compared: the sides of a plain assert are actual and expected."""
        seen.last = comparison(op, left, right)

    def _end(self, item: pytest.Item, error: BaseException, phase: str) -> NoReturn:
        """Store the outcome, and raise what tells pytest: the error itself, a skip, or an expected failure."""
        if isinstance(error, pytest.exit.Exception):
            raise error
        record = item.stash[record_key]
        if isinstance(error, (pytest.skip.Exception, pytest.xfail.Exception)):
            record.outcome = Outcome(Verdict.INCONCLUSIVE, f"the test skipped itself: {error}")
            raise error
        if isinstance(error, Untested):
            record.outcome = Outcome(Verdict.UNTESTED, str(error))
            raise _skip(str(error)) from None
        record.outcome = classify(error, item, phase, seen.last)
        judgement = self._judge(item, record)
        if judgement.outcome in AFFECTED:  # what is known accuses nobody: whether the broker is there need not be asked
            record.outcome = self._with_presence(item, record.outcome)
            judgement = self._judge(item, record)
        if judgement.fails:
            raise error
        reason = f"{judgement.outcome}: {record.outcome.reason}"
        if record.outcome.verdict is Verdict.UNSUPPORTED:
            raise _skip(reason) from None
        raise pytest.xfail.Exception(reason) from error

    def _with_presence(self, item: pytest.Item, outcome: Outcome) -> Outcome:
        target = self.state.target(str(target_name(item)))
        return seen_with(outcome, target, item.stash.get(transcripts_key, []))

    def _judge(self, item: pytest.Item, record: Record) -> Judgement:
        known = self.state.known(str(target_name(item)))
        should = self.state.fail_on_should
        record.judgement = judge(claims(item), record.outcome, known, record.test, fail_on_should=should)
        return record.judgement

    def _note_plain_skip(self, record: Record, reason: str) -> None:
        if record.outcome.verdict is Verdict.CONFORMS:  # a skip mark of pytest's own, seen before our hooks
            record.outcome = Outcome(Verdict.INCONCLUSIVE, f"the test skipped itself: {reason}")

    def _show(self, item: pytest.Item, record: Record, report: pytest.TestReport) -> None:
        record.is_shown = True
        transcripts = item.stash.get(transcripts_key, [])
        if report.longrepr is not None and masked(report.longreprtext, self.secrets) != report.longreprtext:
            report.longrepr = masked(report.longreprtext, self.secrets)  # a traceback shows arguments
        for transcript in transcripts:
            report.sections.append(("conversation", as_text([wire_data(transcript, self.secrets)])))
        if not getattr(item.config.option, "allure_report_dir", None):
            return
        from mqproof.harness.plugin.allure_labels import attach

        attach(item, transcripts, str(self._judge(item, record).outcome), record.outcome, self.secrets)

    def _data(self, item: pytest.Item, record: Record) -> dict[str, Any]:
        judgement = self._judge(item, record)
        data = {
            **planned(item),
            "duration_s": round(record.duration, 6),
            "expected": record.outcome.expected,
            "actual": record.outcome.actual,
            "reason": record.outcome.reason,
            **judgement.plain(),
        }
        transcripts = item.stash.get(transcripts_key, [])
        is_kept = self.state.keeps_all_evidence or judgement.outcome is not Verdict.CONFORMS
        if self.state.run_dir is not None and transcripts and is_kept:
            data["transcript"] = save_transcripts(self.state.run_dir, record.test, transcripts, self.secrets)
        masked: dict[str, Any] = masked_data(data, self.secrets)
        return masked


def planned(item: pytest.Item) -> dict[str, Any]:
    """Return what is known of a test before it runs."""
    return {
        "id": test_id(item),
        "case": case_id(item),
        "target": target_name(item),
        "statements": [statement.key for statement in claims(item)],
    }


def test_id(item: pytest.Item) -> str:
    """Return an id that is the same wherever the suites are installed and whatever pytest's root folder is."""
    return f"{_place(item)}::{item.name}"


def case_id(item: pytest.Item) -> str:
    """Return the id without target and version, by which two runs on different brokers are compared."""
    name = getattr(item, "originalname", None) or item.name
    callspec: Any = getattr(item, "callspec")  # noqa: B009
    leading = [str(callspec.params[key]) for key in ("target", "version") if key in callspec.params]
    parameters = callspec.id.removeprefix("-".join(leading)).removeprefix("-")
    version = str(callspec.params.get("version", ""))
    inner = "-".join(filter(None, [version, parameters]))
    return f"{_place(item)}::{name}[{inner}]" if inner else f"{_place(item)}::{name}"


test_id.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


def _place(item: pytest.Item) -> str:
    parts = item.path.parts
    if "suites" in parts:
        return "/".join(parts[len(parts) - 1 - parts[::-1].index("suites") :])
    return item.nodeid.partition("::")[0]


def _skip(reason: str) -> BaseException:
    return pytest.skip.Exception(reason, _use_item_location=True)
