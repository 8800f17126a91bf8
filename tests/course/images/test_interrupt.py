"""An interrupt while replicas are made leaves no tag, no folder and no program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from stagelens_testing.resources import wait_until

from stagelens.engine import Engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.network,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="replicas are made by root on Debian"
    ),
]
IMAGE = """
import sys
from stagelens_course import images
from stagelens.engine import connect
report = lambda line: print(line, flush=True)
images.ensure(connect(start=False), [sys.argv[1]], "replica", report, namespace=sys.argv[2])
"""
DEBIAN = """
from stagelens_course.images import debian
debian.provide_tarball("0" * 64, lambda line: print(line, flush=True))
"""


def interrupted(tmp_path: Path, at: str, code: str, *arguments: str) -> int:
    """Run `code` with its own home and temporary folder, and interrupt it when it prints `at`."""
    certificate = tmp_path / "ca.pem"
    # With a new CA, the last steps of a build are in no cache.
    trustme.CA().cert_pem.write_to_path(str(certificate))
    for folder in ("home", "tmp"):
        (tmp_path / folder).mkdir()
    variables = {
        "STAGELENS_HOME": tmp_path / "home",
        "TMPDIR": tmp_path / "tmp",
        "STAGELENS_EXTRA_CA": certificate,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {name: str(path) for name, path in variables.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert any(at in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
    return process.returncode


def programs_in(folder: Path) -> list[str]:
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in command:
            found.append(command.decode(errors="replace"))
    return found


@pytest.mark.parametrize(
    ("image", "at"), [("diamol/golang", "RUN update-ca-certificates"), ("diamol/node", "downloading Node")]
)
def test_interrupted_build_tags_nothing(
    engine: Engine, unique: str, clean: object, tmp_path: Path, image: str, at: str
) -> None:
    assert interrupted(tmp_path, at, IMAGE, image, unique) in (130, -signal.SIGINT)
    assert not engine.api.images(name=f"{unique}/{image.partition('/')[2]}")
    assert list((tmp_path / "tmp").iterdir()) == []
    wait_until(lambda: programs_in(tmp_path) == [], "the end of the programs")


def test_interrupted_debian_leaves_no_folder_program_or_mount(tmp_path: Path) -> None:
    assert interrupted(tmp_path, "debootstrap", DEBIAN) in (130, -signal.SIGINT)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list((tmp_path / "home" / "cache").iterdir()) == []
    wait_until(lambda: programs_in(tmp_path) == [], "the end of the programs")
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
