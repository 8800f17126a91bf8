"""What a notebook shows of an error that stagelens raises on purpose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """\
from stagelens.dockerfile import parse
parse("FROM scratch\\nRUNN nothing\\n")
"""


def test_a_notebook_shows_the_reader_s_line_and_the_message_without_our_own_frames(tmp_path: Path) -> None:
    (tmp_path / "cell.ipy").write_text(f"get_ipython().run_cell({SCRIPT!r})\n")
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "--quick", "--no-banner", "cell.ipy"]
    command[3:3] = [f"--ipython-dir={tmp_path}", "--HistoryManager.enabled=False"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert "RUNN" in done.stdout, done.stdout + done.stderr
    assert "line 2" in done.stdout, "where it is in the Dockerfile"
    assert "parse.py" not in done.stdout
    assert 'parse("FROM scratch' in done.stdout
