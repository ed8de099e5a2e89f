"""A known password, over AMQP (PLAIN and AMQPLAIN), MQTT and in URLs, is in no byte of any artifact."""

import base64
import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from mqproof.harness.recording import record
from mqproof.harness.reference.amqp.broker import Settings
from mqproof.harness.reference.amqp.server import start_in_thread as start_amqp
from mqproof.harness.reference.mqtt.server import start_in_thread as start_mqtt
from mqproof.harness.targets.opening import plan
from mqproof.harness.targets.target import Target

pytestmark = pytest.mark.whole_run
PASSWORD = "kn0wn/Pass:w0rd&<\"'ü"
TESTS = "topic_pattern or sanity or topic_filter"
RAW = PASSWORD.encode()
AMQPLAIN = b"\5LOGINS\0\0\0\2me\x08PASSWORDS" + len(RAW).to_bytes(4, "big") + RAW
OWN_TEST = f'''
import pytest
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_verbs import Things


@pytest.mark.normative("amqp-0-9-1:connection.start-ok.mechanism/validity")
def test_login(target, names, transcripts, cleanup):
    wire = AmqpWire(target, Things(names))
    transcripts.append(wire.transcript)
    cleanup(wire.close)
    wire.greet()
    wire.log_in("AMQPLAIN", {AMQPLAIN!r})
    wire.tune()
    wire.open_vhost()
    assert wire.target.password == "another"
'''
AFTERWARDS = (
    ["scorecard", "run", "own"],
    ["report", "run", "own", "-o", "report.html"],
    ["report-bug", "run", "amqp-0-9-1:3.1.3.3/words"],
    ["report-bug", "own", "amqp-0-9-1:connection.start-ok.mechanism/validity"],
    ["compare", "run", "run", "--markdown", "compare.md", "--html", "compare.html"],
    ["gate", "run", "--markdown", "gate.md", "--junit", "gate.xml", "--badge", "badge.json"],
    ["runs", "list", ".", "--json"],
    ["runs", "pack", "run"],
    ["analyze", "own-captures/t-amqp-0.pcapng", "--json", "--findings", "--messages", "--html", "analyze.html"],
    ["conformance", "run", "--spec", "amqp-0-9-1", "-o", "conformance.md"],
)


@dataclass
class Made:
    """The folder with everything that was written and printed, and how the commands ended."""

    folder: Path
    codes: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def run(self, name: str, *command: str) -> None:
        """Run a command, its caches in the folder, and keep what it prints."""
        cache = {"XDG_CACHE_HOME": str(self.folder / "cache")} if name != "report" else {}
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, timeout=300, check=False, env={**os.environ, **cache}
        )
        (self.folder / f"{name}.stdout").write_bytes(done.stdout)
        (self.folder / f"{name}.stderr").write_bytes(done.stderr)
        self.codes[name] = done.returncode
        self.errors[name] = done.stderr.decode()

    def mqproof(self, name: str, *arguments: str) -> None:
        """Run mqproof."""
        self.run(name, sys.executable, "-P", "-m", "mqproof.harness.cli", *arguments)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield every file, and what is in those that are packed."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                yield str(path.relative_to(self.folder)), content
                if path.suffix == ".gz":
                    yield f"{path.name}, unpacked", gzip.decompress(content)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Everything that recorded runs with deviations, and all that reads them, wrote and printed."""
    made = Made(tmp_path_factory.mktemp("redaction"))
    amqp = start_amqp(["topic-star-any"], settings=Settings(users={"me": PASSWORD}))
    mqtt = start_mqtt(frozenset({"hash-without-parent"}), users={"me": RAW})
    login = f"me:{quote(PASSWORD, safe='')}@127.0.0.1"
    urls = {"amqp": f"amqp://{login}:{amqp.port}", "mqtt": f"mqtt://{login}:{mqtt.port}"}
    try:
        made.mqproof("test", "test", *urls.values(), "--out", "run", "--record", "--quick", "--patience", "0.3",
                     "--evidence", "all", "-k", TESTS, "--json", "copy.json")  # fmt: skip
        _run_own_test(made, urls["amqp"])
        for protocol, scenario in (("amqp", "welcome-email"), ("mqtt", "alerts-qos1")):
            made.mqproof(f"load-{protocol}", "load", scenario, urls[protocol], "--users", "1", "--duration", "1",
                         *(["--trace"] if protocol == "mqtt" else []), "--out", f"load-{protocol}")  # fmt: skip
            made.mqproof(f"probe-{protocol}", "probe", urls[protocol], "--json")
            made.mqproof(f"sabotage-{protocol}", "sabotage", urls[protocol], "--fault", "latency:delay=1ms", "--for",
                         "0.2s", "--out", f"sabotage-{protocol}")  # fmt: skip
            made.mqproof(f"clean-{protocol}", "clean", urls[protocol])
    finally:
        amqp.stop()
        mqtt.stop()
    for protocol, url in urls.items():
        made.mqproof(f"unreachable-{protocol}", "test", url, "--out", f"unreachable-{protocol}")
    for number, arguments in enumerate(AFTERWARDS):
        made.mqproof(arguments[0] if arguments[0] == "report" else f"afterwards-{number}", *arguments)
    return made


def _run_own_test(made: Made, url: str) -> None:
    """Log in by AMQPLAIN, in a test of one's own that fails, while packets are captured."""
    (made.folder / "source").mkdir()
    (made.folder / "source" / "test_own.py").write_text(OWN_TEST)
    planned = plan(url)
    assert isinstance(planned, Target)
    with record([planned.with_(name="t")], made.folder / "own-captures") as recording:
        made.run("own", sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--alluredir", "own/allure-results",
                 "source/test_own.py", "--broker", recording.targets[0].url, "--mqproof-run", "own")  # fmt: skip
    shutil.rmtree(made.folder / "source")  # it is no artifact, and holds the password, as does its bytecode


def forms(password: str) -> set[bytes]:
    """Return what the password looks like: plain up to what is escaped, as in a URL, hexadecimal, within base64."""
    raw = password[: password.index("&")].encode()
    texts = {raw.decode(), quote(password, safe="")[: len(raw)], quote(password)[: len(raw)]}
    within = {base64.b64encode(b"\0" * shift + raw)[(8 * shift + 5) // 6 :].rstrip(b"=")[:-1] for shift in range(3)}
    hexadecimal = {raw.hex(), raw.hex(" "), raw.hex(":"), raw.hex().upper()}
    return {text.encode() for text in texts | hexadecimal} | within


def test_the_search_finds_the_password_in_whatever_holds_it() -> None:
    for before in (b"", b"1", b"12", b"123", b"\0me\0"):
        for text in (before + RAW, base64.b64encode(before + RAW + b"behind"), (before + RAW).hex().encode()):
            assert any(form in text for form in forms(PASSWORD)), (before, text)
    assert all(len(form) >= 15 for form in forms(PASSWORD))


def test_the_runs_did_what_they_should(made: Made) -> None:
    expected = {"test": 1, "own": 1, "report": 0, "unreachable-amqp": 3, "unreachable-mqtt": 3}
    for name, code in made.codes.items():
        allowed = {expected.get(name, 0)} | ({3} if name == "report" and "npm" in made.errors[name] else set())
        allowed |= {1} if "afterwards" in name else set()
        assert code in allowed, (name, code, made.errors[name])
    run = made.folder / "run"
    assert len(list((run / "captures").glob("*.pcapng"))) == 2
    assert list((run / "allure-results").glob("*.pcapng"))
    assert b"basic.publish" in b"".join(path.read_bytes() for path in (run / "evidence").iterdir())


def test_amqplain_is_in_the_capture_and_in_the_evidence(made: Made) -> None:
    assert b"AMQPLAIN" in (made.folder / "own-captures" / "t-amqp-0.pcapng").read_bytes()
    (evidence,) = (made.folder / "own" / "evidence").iterdir()
    assert "AMQPLAIN" in evidence.read_text()
    assert list((made.folder / "own" / "allure-results").glob("*.pcapng"))


def test_no_byte_of_any_artifact_holds_the_password(made: Made) -> None:
    contents = dict(made.contents())
    assert len(contents) > 100
    assert "run.mqproof.tar.gz, unpacked" in contents
    leaks = {(name, form) for name, content in contents.items() for form in forms(PASSWORD) if form in content}
    assert leaks == set()
