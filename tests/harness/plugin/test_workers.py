"""Under xdist: results of all workers are merged, and a worker that dies accuses nobody."""

import pytest

WORDS, UNIQUE = "amqp-0-9-1:3.1.3.3/words", "amqp-0-9-1:queue.bind/unique"
XDIST = ("-p", "xdist.plugin", "-n", "2")


@pytest.fixture
def workers(suite, pytester, monkeypatch):
    """Run the suite with two workers, in a process of its own."""

    def run(source: str, *arguments: str):
        return suite.run(source, *XDIST, *arguments, subprocess=True)

    return run


def test_the_results_of_all_workers_are_merged(workers):
    source = (
        f'@pytest.mark.parametrize("n", range(8))\n@pytest.mark.normative("{WORDS}")\n'
        "def test_it(target, n):\n    assert n != 5\n"
    )
    result = workers(source)
    assert result.run["planned"] == len(result.tests) == 8
    assert result.run["complete"] is True
    assert result.verdicts == {("3.1.3.3/words", "fake-amqp"): "deviates"}


def test_a_worker_that_dies_leaves_its_test_inconclusive_and_the_run_incomplete(workers):
    source = (
        f'@pytest.mark.normative("{UNIQUE}")\ndef test_dies(target):\n    import os; os._exit(9)\n'
        f'@pytest.mark.normative("{WORDS}")\ndef test_lives(target):\n    assert target.port == 1\n'
    )
    result = workers(source)
    assert result.verdicts[("queue.bind/unique", "fake-amqp")] == "inconclusive"
    assert result.verdicts[("3.1.3.3/words", "fake-amqp")] == "conforms"
    assert "crashed" in result.tests["test_dies[fake-amqp]"]["reason"]
    assert result.run["complete"] is False
    assert not (result.folder / ".plan.json").exists()


def test_names_differ_between_workers(workers, pytester):
    source = (
        f'@pytest.mark.parametrize("n", range(8))\n@pytest.mark.normative("{WORDS}")\n'
        "def test_it(target, names, n):\n"
        f"    with open({str(pytester.path / 'made')!r}, 'a') as file:\n"
        "        file.write(names('q') + '\\n' + names.client_id() + '\\n')\n"
    )
    assert workers(source).ret == 0
    made = (pytester.path / "made").read_text().split()
    assert len(set(made)) == len(made) == 16
    assert len({name[:13] for name in made}) == 1  # one prefix for the whole run


def test_an_unknown_statement_stops_the_workers_too(workers):
    result = workers('@pytest.mark.normative("amqp-0-9-1:nonsense")\ndef test_it(target):\n    pass\n')
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*no statement is called*"])
    assert result.run["complete"] is False
