"""`stagelens test`: everything the tests need, then the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from stagelens import engine as engines
from stagelens.cli import engine as engine_commands
from stagelens.cli import requirements
from stagelens.cli.console import err
from stagelens.errors import StagelensError
from stagelens_course.cli.images import provide_images
from stagelens_course.folder import shipped_files

ROOT = shipped_files()
_TOOLS = (requirements.Program("ssh-agent", "openssh-client"),)
_BROWSER = (requirements.Program("chromium", "chromium"), requirements.Program("npm", "npm"))
_CLEAN_UP_SECONDS = 30.0


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--only-tests", is_flag=True, help="Leave out the lint and type checks.")
@click.argument("arguments", metavar="[PYTEST ARGUMENTS]...", nargs=-1, type=click.UNPROCESSED)
def test(only_tests: bool, arguments: tuple[str, ...]) -> None:
    """Provide what the tests need, then run them.

    That is an engine, base images and a browser; lint and types come first. Further arguments go to pytest.
    An engine that this command starts is stopped at its end, or at that of the last run beside it; one that
    anything else has come to use goes on.
    """
    if not (ROOT / "tests").is_dir():
        raise StagelensError("The tests are in the project's checkout.", remedy="run stagelens test there")
    with engines.lease() as runs:
        # What runs from here on is a test's.
        os.environ[engines.LEASE_VARIABLE] = ""
        sys.exit(_run(arguments, only_tests, runs))


def _run(arguments: Sequence[str], only_tests: bool, runs: Path) -> int:
    failed: list[str] = []
    if not only_tests:
        for name, command in _checks().items():
            err.print(name, style="bold")
            if _call([sys.executable, "-m", *command]):
                failed.append(name)
    engine = engine_commands.find()
    err.print(f"engine {engine.info.version}: {engine.origin}", markup=False)
    requirements.provide(_TOOLS)
    if any((ROOT / "tests/browser").glob("test_*.py")):
        requirements.provide(_BROWSER)
    provide_images(engine)
    engine.api.close()
    private = engine.address == engines.private_engine().address
    # The check for leftovers is strict on an engine that this run has for itself, which the list shows.
    variables = {"DOCKER_HOST": engine.address, engines.LEASE_VARIABLE: str(runs) if private else ""}
    # A folder of its own: pytest would else sweep what other runs on this machine have left.
    folder = tempfile.mkdtemp(prefix="sltest-")
    try:
        pytest = [sys.executable, "-m", "pytest", "--durations=10", f"--basetemp={folder}/tests"]
        if _call([*pytest, *arguments], **variables):
            failed.append("pytest")
    finally:
        # Tests make trees a thousand levels deep; shutil.rmtree recurses and gives up on those.
        subprocess.run(["rm", "-rf", folder], check=False)
    if failed:
        err.print(f"failed: {', '.join(failed)}", style="red")
    return 1 if failed else 0


def _call(command: list[str], **variables: str) -> int:
    """Run a command to its end; where we are told to stop, it gets the time to clean up after itself."""
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | variables) as process:
        try:
            return process.wait()
        except BaseException as error:
            # A terminal's Ctrl-C has reached it already.
            if not isinstance(error, KeyboardInterrupt):
                process.send_signal(signal.SIGINT)
            try:
                process.wait(_CLEAN_UP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def _checks() -> dict[str, list[str]]:
    return {
        "ruff check": ["ruff", "check"],
        "ruff format": ["ruff", "format", "--check"],
        "pyright": ["pyright", "src"],
    }
