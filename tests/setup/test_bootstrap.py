"""`./stagelens` in a project of its own: real venv, real pip, and a build backend that needs no network."""

from __future__ import annotations

import ast
import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from stagelens_testing.resources import wait_until

SCRIPT = Path(__file__).parents[2] / "stagelens"
NO_UV = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "uv").exists())

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "stagelens"
version = "{version}"
[project.optional-dependencies]
course = []
cluster = []
ssh = []
dev = []
"""

# PEP 660: a wheel that holds a .pth file. Each build leaves a line in builds.txt.
BACKEND = """\
import os, time, zipfile
from pathlib import Path

def build_editable(folder, config_settings=None, metadata_directory=None):
    here = Path(__file__).parent
    with (here / "builds.txt").open("a") as file:
        file.write("built\\n")
    if (here / "slow").exists():
        time.sleep(600)
    if (here / "once").exists():
        (here / "once").unlink()
        raise SystemExit("ReadTimeoutError: HTTPSConnectionPool: Read timed out.")
    if (here / "broken").exists():
        raise SystemExit("the backend is broken on purpose")
    name = "stagelens-1-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        info = "stagelens-1.dist-info/"
        wheel.writestr("stagelens_editable.pth", str(here / "src"))
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: stagelens\\nVersion: 1\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""


class Project:
    """A checkout whose command line prints its arguments and its Python."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        shutil.copy(SCRIPT, root / "stagelens")
        (root / "backend.py").write_text(BACKEND)
        (root / "src/stagelens_course/cli").mkdir(parents=True)
        self.command_line("print(sys.prefix, *sys.argv[1:])")
        # As pyenv has it where no version is chosen that has a uv.
        (root / "shims").mkdir()
        (root / "shims/uv").write_text("#!/bin/sh\necho no such command; exit 127\n")
        (root / "shims/uv").chmod(0o755)
        (root / "requirements.lock").touch()
        self.version("1")

    def command_line(self, body: str) -> None:
        text = f"import sys\n\ndef main():\n    {body}\n"
        (self.root / "src/stagelens_course/cli/__init__.py").write_text(text)

    def version(self, version: str) -> None:
        (self.root / "pyproject.toml").write_text(PYPROJECT.format(version=version))

    @property
    def builds(self) -> int:
        log = self.root / "builds.txt"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def start(self, *arguments: str, script: Path | None = None, cwd: Path | None = None, **variables: str):
        return subprocess.Popen(
            [sys.executable, script or self.root / "stagelens", *arguments],
            cwd=cwd,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            | {"PATH": f"{self.root}/shims{os.pathsep}{NO_UV}", "PIP_USER": "1"}
            | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self, *arguments: str, script: Path | None = None, cwd: Path | None = None, **variables: str
    ) -> tuple[int, str, str]:
        process = self.start(*arguments, script=script, cwd=cwd, **variables)
        out, err = process.communicate()
        return process.returncode, out.strip(), err

    def wait_for_build(self) -> None:
        wait_until(lambda: self.builds, "the build")


def _group(process: psutil.Process) -> int | None:
    """The process group of a process that runs; None for one that has ended."""
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getpgid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, tuple[int, str, str]]:
    """A project after its first run, and what that run gave."""
    project = Project(tmp_path_factory.mktemp("bootstrap") / "a project")
    return project, project.run("lab", "--port", "1")


@pytest.fixture
def bare(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture
def project(bare: Project, first: tuple[Project, object]) -> Project:
    """With a venv that has pip alone: making one takes seconds, and has tests of its own."""
    shutil.copytree(first[0].root / ".venv", bare.root / ".venv", symlinks=True)
    (bare.root / ".venv/stagelens-stamp").unlink()
    return bare


def test_the_first_run_makes_a_venv_and_later_ones_only_run(
    first: tuple[Project, tuple[int, str, str]], tmp_path: Path
) -> None:
    project, (code, out, err) = first
    assert (code, out) == (0, f"{project.root / '.venv'} lab --port 1")
    assert "making .venv" in err
    assert "installing stagelens into .venv" in err

    # What a stranger's folder holds is not run.
    stranger = tmp_path / "stagelens/cli"
    stranger.mkdir(parents=True)
    (stranger / "__init__.py").write_text("def main(): print('stranger')")
    link = tmp_path / "linked"
    link.symlink_to(project.root / "stagelens")
    code, out, err = project.run("--help", script=link, cwd=tmp_path)
    assert (code, out, err) == (0, f"{project.root / '.venv'} --help", "")
    assert project.builds == 1


def test_a_changed_pyproject_installs_again(project: Project) -> None:
    project.run()
    project.version("2")
    project.run()
    project.run()
    assert project.builds == 2


def test_a_checkout_that_was_moved_installs_again(project: Project) -> None:
    project.run()
    project.root = project.root.rename(project.root.with_name("elsewhere"))
    code, out, _ = project.run()
    assert (code, out) == (0, str(project.root / ".venv"))
    assert project.builds == 2


def test_a_package_that_is_missing_is_told_with_what_to_do(project: Project) -> None:
    project.command_line("import nowhere")
    code, _, err = project.run()
    assert code == 1
    assert "error: .venv is not whole: No module named 'nowhere'" in err
    assert f"next: remove the folder {project.root}/.venv" in err
    assert "Traceback" not in err


def test_the_script_alone_is_no_checkout(bare: Project, tmp_path: Path) -> None:
    alone = shutil.copy(SCRIPT, tmp_path / "alone")
    code, _, err = bare.run(script=Path(alone))
    assert code == 1
    assert f"error: this is not the project's checkout: {tmp_path}\n" in err
    assert not (tmp_path / ".venv.lock").exists()


def test_the_dev_extra_is_installed_for_tests_and_stays(project: Project) -> None:
    project.run("lab")
    project.run("test")
    project.run("test")
    assert project.builds == 2
    project.version("2")
    project.run("lab")
    stamp = (project.root / ".venv/stagelens-stamp").read_text()
    assert stamp.split()[1:] == ["dev"]


def test_two_at_once_install_once(project: Project) -> None:
    both = [project.start("one"), project.start("two")]
    for process in both:
        process.communicate()
    assert [process.returncode for process in both] == [0, 0]
    assert project.builds == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_installation_is_taken_up_again(project: Project, number: signal.Signals) -> None:
    (project.root / "slow").touch()
    process = project.start()
    project.wait_for_build()
    if number == signal.SIGTERM:
        os.kill(process.pid, number)
        wait_until(lambda: _group(psutil.Process(process.pid)) is None, "its end")
        assert not (project.root / ".venv/stagelens-tmp").exists()
        # pip has ended; the build backend that it called has not heard of it, and has no way into .venv.
    os.killpg(process.pid, number)
    _, err = process.communicate()
    assert process.returncode == 128 + number
    assert "Traceback" not in err.partition("stopped;")[0]
    wait_until(lambda: not [p for p in psutil.process_iter() if _group(p) == process.pid], "the end of pip")

    (project.root / "slow").unlink()
    assert project.run()[0] == 0


def test_a_killed_installation_begins_anew(project: Project) -> None:
    project.run()
    project.version("2")
    (project.root / "slow").touch()
    process = project.start()
    wait_until(lambda: project.builds == 2, "the second build")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    # A package that pip was about to unpack.
    half = project.root / ".venv/half"
    half.touch()

    (project.root / "slow").unlink()
    # Of what is asked for now, a former installation was whole.
    project.version("1")
    assert project.run()[0] == 0
    assert not half.exists()
    assert not (project.root / ".venv/stagelens-tmp").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes another user")
def test_a_checkout_that_may_not_be_written(bare: Project) -> None:
    for folder in (bare.root, *list(bare.root.parents)[:3]):
        folder.chmod(0o755)
    python = next((p for p in ("/usr/bin/python3", sys.executable) if readable_by_all(Path(p))), None)
    if python is None:
        pytest.skip("no Python that others may run")
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, bare.root / "stagelens"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: the installation into {bare.root}/.venv failed" in done.stderr
    assert "next: clone stagelens into a folder that you may write to" in done.stderr
    assert "Traceback" not in done.stderr


def readable_by_all(path: Path) -> bool:
    real = path.resolve()
    return real.exists() and all(folder.stat().st_mode & 0o001 for folder in (real, *real.parents))


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("urllib3 NewConnectionError refused", "check the network, a proxy"),
        ("SSLError CERTIFICATE_VERIFY_FAILED", "name the CA"),
        ("OSError: No space left on device", "free some space"),
        ("something else", "check the network and pip's settings"),
    ],
)
def test_the_remedy_fits_what_pip_said(words: str, remedy: str) -> None:
    assert remedy in runpy.run_path(str(SCRIPT))["remedy_for"](words)


def test_a_failed_installation_shows_what_pip_said(project: Project) -> None:
    (project.root / "broken").touch()
    code, _, err = project.run()
    assert code == 1
    assert "the backend is broken on purpose" in err
    assert project.builds == 1
    assert "next: check the network" in err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a small disk")
@pytest.mark.parametrize("size", ["1m", "11m"], ids=["pip cannot be unpacked", "pip is cut off"])
def test_a_disk_that_is_full_is_told_and_when_there_is_room_it_begins_anew(tmp_path: Path, size: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    try:
        project = Project(disk / "project")
        code, _, err = project.run()
        assert code == 1
        assert "No space left" in err
        assert "next: free some space" in err
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        assert project.run()[:2] == (0, str(project.root / ".venv"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_index_that_breaks_off_is_asked_again(project: Project) -> None:
    (project.root / "once").touch()
    code, _, err = project.run()
    assert (code, project.builds) == (0, 2)
    assert "installing stagelens into .venv failed for now; again in 5 s" in err


def test_a_venv_without_a_python_is_made_anew(bare: Project) -> None:
    bin_folder = bare.root / ".venv/bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").symlink_to("/nowhere/python")
    code, out, _ = bare.run()
    assert (code, out) == (0, str(bare.root / ".venv"))


def test_a_venv_that_has_become_another_python_is_made_anew(project: Project) -> None:
    project.run()
    # Its Python is now the one that made it, with that one's packages, which are not ours to change.
    (project.root / ".venv/pyvenv.cfg").unlink()
    code, out, _ = project.run()
    assert (code, out, project.builds) == (0, str(project.root / ".venv"), 2)


def test_a_python_that_does_not_start_is_told_with_what_to_do(project: Project) -> None:
    project.run()
    python = project.root / ".venv/bin/python"
    python.unlink()
    python.write_text("#!/nowhere/python\n")
    python.chmod(0o755)
    code, _, err = project.run()
    assert code == 1
    assert f"next: remove the folder {project.root}/.venv, then run this again" in err
    assert "Traceback" not in err


def test_a_venv_that_leads_elsewhere_is_told_with_what_to_do(bare: Project, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (bare.root / ".venv").symlink_to(tmp_path / "elsewhere")
    code, _, err = bare.run()
    assert code == 1
    assert f"next: remove {bare.root}/.venv, then run this again" in err


def test_checkouts_that_share_a_venv_by_a_link_wait_for_each_other(bare: Project, tmp_path: Path) -> None:
    bare.run()
    kept = bare.root / ".venv/kept"
    kept.touch()
    other = Project(tmp_path / "other")
    (other.root / ".venv").symlink_to(bare.root / ".venv")
    bare.version("2")
    (bare.root / "slow").touch()
    first = bare.start()
    wait_until(lambda: bare.builds == 2, "the build")
    second = other.start()
    lock = str(bare.root / ".venv.lock")
    wait_until(
        lambda: lock in [f.path for f in psutil.Process(second.pid).open_files()], "the second one's wait"
    )
    os.kill(first.pid, signal.SIGTERM)
    first.communicate()
    out, err = second.communicate()
    assert (second.returncode, out.strip()) == (0, str(other.root / ".venv")), err
    assert kept.exists()


def test_a_checkout_with_blanks_and_letters_of_any_kind_in_any_locale(tmp_path: Path) -> None:
    project = Project(tmp_path / "나의 강의")
    for locale in ("C", "POSIX", "C.UTF-8"):
        code, out, err = project.run("é", LC_ALL=locale)
        assert (code, out) == (0, f"{project.root}/.venv é"), err


def test_an_interrupt_while_the_command_line_is_imported(project: Project) -> None:
    project.run()
    (project.root / "src/stagelens_course/cli/__init__.py").write_text(
        "import time; print('importing', flush=True); time.sleep(600)"
    )
    process = project.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "")


def test_an_interrupt_as_python_starts(project: Project) -> None:
    project.run()
    (place,) = (project.root / ".venv/lib").glob("python*/site-packages")
    (place / "pressed.pth").write_text(f"import os; os.kill(os.getpid(), {signal.SIGINT:d})\n")
    assert project.run() == (130, "", "")


def test_an_interrupt_is_heard_by_the_command_and_what_it_starts(project: Project) -> None:
    project.command_line("import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))")
    assert project.run()[1] == "set()"


def test_an_old_python_can_read_the_script() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))
