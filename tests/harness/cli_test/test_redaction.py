"""A known password, over AMQP and MQTT and in URLs, is in no byte of any artifact, captures included."""

import base64
import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from mqproof.harness.cli.main import app
from mqproof.harness.reference.amqp.broker import Settings
from mqproof.harness.reference.amqp.server import start_in_thread as start_amqp
from mqproof.harness.reference.mqtt.server import start_in_thread as start_mqtt
from typer.testing import CliRunner

pytestmark = pytest.mark.whole_run
PASSWORD = "kn0wn/Pass:w0rd&<\"'ü"
TESTS = "topic_pattern or sanity or topic_filter"
AFTERWARDS = (
    ["scorecard", "{run}"],
    ["report-bug", "{run}", "amqp-0-9-1:3.1.3.3/words"],
    ["compare", "{run}", "{run}", "--markdown", "{out}/compare.md", "--html", "{out}/compare.html"],
    ["gate", "{run}", "--markdown", "{out}/gate.md", "--junit", "{out}/gate.xml", "--badge", "{out}/badge.json"],
    ["runs", "list", "{out}", "--json"],
)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory):
    """Everything that a recorded run with deviations wrote and printed."""
    folder = tmp_path_factory.mktemp("redaction")
    amqp = start_amqp(["topic-star-any"], settings=Settings(users={"me": PASSWORD}))
    mqtt = start_mqtt(frozenset({"hash-without-parent"}), users={"me": PASSWORD.encode()})
    login = f"me:{quote(PASSWORD, safe='')}@127.0.0.1"
    try:
        result = subprocess.run(
            [sys.executable, "-P", "-m", "mqproof.harness.cli", "test", f"amqp://{login}:{amqp.port}",
             f"mqtt://{login}:{mqtt.port}", "--out", "run", "--record", "--quick", "--patience", "0.3",
             "-k", TESTS, "--json", "copy.json"],
            cwd=folder, capture_output=True, timeout=120, check=False, env=os.environ,
        )  # fmt: skip
    finally:
        amqp.stop()
        mqtt.stop()
    (folder / "stdout").write_bytes(result.stdout)
    (folder / "stderr").write_bytes(result.stderr)
    for number, arguments in enumerate(AFTERWARDS):
        done = CliRunner().invoke(app, [word.format(run=folder / "run", out=folder) for word in arguments])
        assert done.exit_code in (0, 1), (arguments, done.output)
        (folder / f"afterwards-{number}").write_text(done.output)
    return folder, result.returncode


def forms(password: str) -> set[bytes]:
    raw = password.encode()
    texts = {password, quote(password, safe=""), quote(password), repr(password)[1:-1], repr(raw)[2:-1]}
    encoded = {text.encode() for text in texts}
    answer = base64.b64encode(b"\0me\0" + raw)  # SASL PLAIN
    return encoded | {raw, raw.hex().encode(), raw.hex(" ").encode(), base64.b64encode(raw), answer}


def test_the_run_did_what_it_should(artifacts):
    folder, code = artifacts
    assert code == 1
    assert len(list((folder / "run" / "captures").glob("*.pcapng"))) == 2
    assert list((folder / "run" / "evidence").glob("*.json"))
    assert list((folder / "run" / "allure-results").glob("*.pcapng"))
    assert b"basic.publish" in b"".join(path.read_bytes() for path in (folder / "run" / "evidence").iterdir())


def test_no_byte_of_any_artifact_holds_the_password(artifacts):
    folder, _ = artifacts
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 50
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    leaks = {(name, form) for name, content in contents.items() for form in forms(PASSWORD) if form in content}
    assert leaks == set()
