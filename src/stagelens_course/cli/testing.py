"""The command `stagelens test`: provide what the tests need, then run them."""

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
from stagelens.cli import engine_commands, requirements
from stagelens.cli.console import err
from stagelens.errors import StagelensError
from stagelens_course.cli.images import provide_images
from stagelens_course.folder import shipped_files

ROOT = shipped_files()
_TEST_PROGRAMS = (
    requirements.Program("ssh-agent", "openssh-client"),
    requirements.Program("podman", "podman"),
)
_BROWSER_PROGRAMS = (requirements.Program("chromium", "chromium"), requirements.Program("npm", "npm"))
_CLEANUP_SECONDS = 30.0


@click.command("test", context_settings={"ignore_unknown_options": True})
@click.option("--only-tests", is_flag=True, help="Leave out the lint and type checks.")
@click.argument("arguments", metavar="[PYTEST ARGUMENTS]...", nargs=-1, type=click.UNPROCESSED)
def test_command(only_tests: bool, arguments: tuple[str, ...]) -> None:
    """Provide what the tests need, then run them.

    They need an engine, base images and a browser. Lint and type checks run first. Further arguments go to
    pytest. An engine that this command starts is stopped when its last parallel run ends, unless something
    else uses it by then.
    """
    if not (ROOT / "tests").is_dir():
        raise StagelensError(
            "The tests are only in a clone of the project.", remedy="run in a clone: ./stagelens test"
        )
    with engines.lease() as runs:
        # Tests must not take part in the lease.
        os.environ[engines.LEASE_VARIABLE] = ""
        sys.exit(_run(arguments, only_tests, runs))


def _run(arguments: Sequence[str], only_tests: bool, runs: Path) -> int:
    failed: list[str] = []
    if not only_tests:
        for name, command in _checks().items():
            err.print(name, style="bold")
            if _call([sys.executable, "-m", *command]):
                failed.append(name)
    engine = engine_commands.find_engine()
    err.print(f"engine {engine.info.version}: {engine.origin}", markup=False)
    requirements.ensure_installed(_TEST_PROGRAMS)
    if any((ROOT / "tests/browser").glob("test_*.py")):
        requirements.ensure_installed(_BROWSER_PROGRAMS)
    provide_images(engine)
    engine.api.close()
    private = engine.address == engines.private_engine().address
    # The check for leftovers is strict on an engine that no other run uses, which the lease shows.
    variables = {"DOCKER_HOST": engine.address, engines.LEASE_VARIABLE: str(runs) if private else ""}
    # A separate folder: in the shared one, pytest would remove the files of other runs.
    folder = tempfile.mkdtemp(prefix="sltest-")
    try:
        pytest = [sys.executable, "-m", "pytest", "--durations=10", f"--basetemp={folder}/tests"]
        if _call([*pytest, *arguments], **variables):
            failed.append("pytest")
    finally:
        # Tests make trees a thousand levels deep, which shutil.rmtree cannot remove, since it recurses.
        subprocess.run(["rm", "-rf", folder], check=False)
    if failed:
        err.print(f"failed: {', '.join(failed)}", style="red")
    return 1 if failed else 0


def _call(command: list[str], **variables: str) -> int:
    """Run a command; on a signal, give it time to clean up."""
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | variables) as process:
        try:
            return process.wait()
        except BaseException as error:
            # A terminal's Ctrl-C has already reached the command.
            if not isinstance(error, KeyboardInterrupt):
                process.send_signal(signal.SIGINT)
            try:
                process.wait(_CLEANUP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def _checks() -> dict[str, list[str]]:
    return {
        "ruff check": ["ruff", "check"],
        "ruff format": ["ruff", "format", "--check"],
        "pyright": ["pyright", "src"],
        "codespell": ["codespell_lib"],
    }
