"""What a notebook shows of an error of stagelens, and of an interrupt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stagelens.dockerfile import DockerfileError, parse
from stagelens.errors import StagelensError

SCRIPT = """\
from stagelens.dockerfile import parse
parse("FROM scratch\\nRUNN nothing\\n")
"""

STOPPED = """\
import os, signal, socket, threading
from stagelens.engine import connect
silent = socket.create_server(("127.0.0.1", 0))
def stop():
    silent.accept()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=stop, daemon=True).start()
connect(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
"""

ENGINE = """\
import os, signal, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from stagelens.engine import connect
class Engine(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"ApiVersion": "1.41", "Os": "linux"}')
    def do_POST(self):
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait()
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
threading.Thread(target=server.serve_forever, daemon=True).start()
api = connect(f"tcp://127.0.0.1:{server.server_port}").api
"""


def test_notebook_shows_the_cell_line_and_the_message_without_library_frames(tmp_path: Path) -> None:
    shown = _shown(tmp_path, SCRIPT)
    assert "RUNN" in shown
    assert "line 2" in shown, "where it is in the Dockerfile"
    assert "parse.py" not in shown
    assert 'parse("FROM scratch' in shown


def test_interrupted_call_shows_the_cell_line_and_what_it_means(tmp_path: Path) -> None:
    shown = _shown(tmp_path, STOPPED)
    assert "line 8: connect(" in shown
    assert "the operation has ended" in shown
    assert "threading.py" not in shown
    assert "client.py" not in shown


def test_interrupted_docker_py_call_shows_two_lines(tmp_path: Path) -> None:
    shown = _shown(tmp_path, f"{ENGINE}api.start('any')")
    assert "line 17: api.start(" in shown
    assert "this program no longer waits for the engine's answer" in shown
    assert ".py" not in shown


def test_docker_py_call_reports_a_lost_engine(tmp_path: Path) -> None:
    shown = _shown(tmp_path, f"{ENGINE}server.shutdown()\nserver.server_close()\napi.start('any')")
    assert "The container engine no longer answers." in shown
    assert "where: tcp://127.0.0.1:" in shown
    assert "nothing listens on it" in shown
    assert ".py" not in shown


def _shown(folder: Path, code: str) -> str:
    (folder / "cell.ipy").write_text(f"get_ipython().run_cell({code!r})\n")
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "--quick", "--no-banner", "cell.ipy"]
    command[3:3] = [f"--ipython-dir={folder}", "--HistoryManager.enabled=False"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_untrusted_text_does_not_control_the_terminal() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FROM scratch\nRU\x1b[2J\u202eN x\n")
    assert "unknown instruction: RU\\u{1b}[2J\\u{202e}N" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    error = StagelensError("One.", why="two\n\tthree \udcff", remedy="four")
    assert str(error) == "One.\n  why: two\n\tthree \\xff\n  next: four"


@pytest.mark.parametrize("program", [None, "./stagelens", "'/a clone/stagelens'"])
def test_remedy_names_the_command_as_the_user_types_it(
    program: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if program is not None:
        monkeypatch.setenv("STAGELENS_PROGRAM", program)
    error = StagelensError("It failed.", remedy="sudo stagelens engine stop, or org.stagelens x/stagelens y")
    typed = program or "stagelens"
    assert error.render().endswith(f"  next: sudo {typed} engine stop, or org.stagelens x/stagelens y")
