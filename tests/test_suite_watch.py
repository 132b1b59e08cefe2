"""The watch over the test suite finds a canary in any kind of output, and does not print it again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import suite_watch

ROOT = Path(__file__).parents[1]

# Each test shows the secret in a different kind of output, and most would pass otherwise. The secret is written in two
# parts because this file is watched too.
SECRET = "canar" + "y4711"
LEAKS = """
import logging, subprocess, sys, warnings
import pytest
from tests.suite_watch import register, new_token, record_output

SECRET = "canar" + "y4711"
LOG = logging.getLogger("maven_channel_wecom.inbound")

class Printed:
    def __repr__(self):
        return f"<{SECRET}>"

def test_prints(): print(SECRET)
def test_prints_an_error(): sys.stderr.write(SECRET)
def test_reads_what_was_printed(capsys):
    print(SECRET)
    assert capsys.readouterr().out
def test_leaves_what_was_printed(capsys): print(SECRET)
def test_runs_a_program(capfd): subprocess.run(["echo", SECRET])
def test_logs_a_field(): LOG.debug("wecom event", extra={"fields": {"a": [SECRET]}})
def test_logs_a_text(): LOG.debug("wecom %s", SECRET)
def test_logs_an_exception():
    try: raise ValueError(SECRET)
    except ValueError: LOG.exception("wecom event")
def test_warns(): warnings.warn(SECRET)
def test_shows_a_health(): record_output("/readyz", SECRET)
def test_shows_what_it_kept():
    register("what a user wrote", "a story of the harbor")
    print("text=a story of the harbor")
def test_shows_in_a_fixture(fixture): pass
def test_fails(): assert Printed() is None

drawn = []
def test_draws(): drawn.append(new_token())
def test_shows_what_another_drew(): print(drawn)
def test_is_clean(): print("nothing"); LOG.debug("wecom event")

@pytest.fixture
def fixture():
    yield
    print(SECRET)
"""


@pytest.fixture(scope="module", params=[(), ("-p", "xdist.plugin", "-n", "1")], ids=["alone", "in-a-worker"])
def output(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> str:
    """Return the output of pytest for a suite that leaks in every way."""
    folder = tmp_path_factory.mktemp("leaking")
    (folder / "test_leaks.py").write_text(LEAKS, encoding="utf-8")
    done = subprocess.run(  # noqa: S603 - our own interpreter and arguments
        [
            *(sys.executable, "-m", "pytest", "-rA", "-W", "error", "-c", os.devnull, "--rootdir", str(folder)),
            *("-p", "tests.suite_watch", "-p", "no:cacheprovider", *request.param, str(folder / "test_leaks.py")),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 1
    return done.stdout


LEAKING = re.findall(r"def test_(\w+)", LEAKS)
CLEAN = {"is_clean", "draws", "shows_what_another_drew"}


@pytest.mark.parametrize("test", [name for name in LEAKING if name not in CLEAN])
def test_a_leak_fails_its_test(output: str, test: str) -> None:
    assert re.search(rf"^(ERROR|FAILED) .*::test_{test}( |$)", output, re.MULTILINE)


def test_a_test_without_a_leak_passes(output: str) -> None:
    assert re.search(r"^PASSED .*::test_is_clean$", output, re.MULTILINE)
    assert not re.search(r"^(ERROR|FAILED) .*::test_is_clean", output, re.MULTILINE)


def test_a_secret_shown_by_another_test_is_found_at_the_end(output: str) -> None:
    assert re.search(r"leaked: a token in .*::test_shows_what_another_drew$", output, re.MULTILINE)


def test_a_leaked_secret_is_not_printed_by_pytest(output: str) -> None:
    """The leaking tests include a failing assertion, and a warning that is an error."""
    assert SECRET not in output
    assert "[a canary]" in output


def test_secrets_are_only_created_through_the_watch() -> None:
    """A secret that a test creates directly with the simulator would not be watched."""
    bypassing = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("*.py")
        if re.search(r"^\s*(from|import) maven_channel_wecom\.simulator\.keys\b", path.read_text("utf-8"), re.MULTILINE)
    }
    assert bypassing == set()


def test_every_hook_of_the_watch_is_registered(pytestconfig: pytest.Config) -> None:
    """A hook that tests/conftest.py does not import silently has no effect."""
    hooks = {name: value for name, value in vars(suite_watch).items() if name.startswith("pytest_")}
    relay = pytestconfig.pluginmanager.hook
    registered = {
        name for name, hook in hooks.items() for found in getattr(relay, name).get_hookimpls() if found.function is hook
    }
    # Only the main process of pytest-xdist has hooks about its workers.
    assert hooks.keys() - registered == set()
