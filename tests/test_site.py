"""The documentation site is built without a warning, and a docstring that cannot be rendered fails it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BROKEN = 'def f() -> None:\n    """Do *this.\n\n    - one\n      two\n    three\n    """\n'
_FILE = re.compile(r"`((?:src|tests|docs|benchmarks)/[\w./-]+)`")


def sphinx(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", source, out]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stagelens_course", "docs", "--out", str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "stagelens.explore" in (tmp_path / "site/reference/api.html").read_text()


def test_a_broken_docstring_fails_the_site(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        'def f() -> None:\n    """Do *this.\n\n    - one\n      two\n    three\n    """\n'
    )
    configuration = (ROOT / "docs/conf.py").read_text().replace('["reference/results.schema.json"]', "[]")
    (tmp_path / "conf.py").write_text(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{configuration}")
    (tmp_path / "index.md").write_text("# Site\n\n```{eval-rst}\n.. automodule:: broken\n```\n")
    done = sphinx(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "broken.py:docstring of broken.f" in done.stderr


def test_the_files_that_the_pages_name_exist() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        path
        for page in pages
        for path in re.findall(r"`((?:src|tests|docs|benchmarks)/[\w./-]+)`", page.read_text())
    }
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
