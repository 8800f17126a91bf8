"""What README.md, CONTRIBUTING.md and docs/ show is there, and works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from stagelens.engine import Engine
from stagelens_course.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCKERFILE = """\
FROM diamol/base AS builder
COPY src /src
RUN mkdir /app
RUN cp /src/version.txt /app/server
FROM diamol/base
COPY --from=builder /app /app
"""
# A command on a line of its own, or in `code`.
_COMMAND = re.compile(r"(?:^|`)(?:\$ )?(?:\./)?stagelens ([a-z][^`\n]*)", re.MULTILINE)


def commands() -> list[str]:
    found = {match for page in PAGES for match in _COMMAND.findall(page.read_text(encoding="utf-8"))}
    return sorted(text.partition("  ")[0].rstrip(" .,;") for text in found)


def test_the_pages_show_commands() -> None:
    assert len(commands()) > 15


@pytest.mark.parametrize("shown", commands())
def test_a_command_that_is_shown_is_there_with_its_options(shown: str) -> None:
    names, *rest = shlex.split(re.sub(r"[\[\]…]", "", shown), comments=True)
    for name in names.split("|"):
        command: click.Command = app
        with click.Context(app) as context:
            for part in [name, *[word for word in rest if word.isalpha() and word.islower()]]:
                group = command
                if isinstance(group, click.Group):
                    found = group.get_command(context, part.partition("|")[0])
                    assert found is not None, part
                    command = found
        options = {option for parameter in command.params for option in parameter.opts}
        # `test` hands what it does not know on to pytest.
        wanted = [word.partition("=")[0] for word in rest if word.startswith("-") and len(word) > 1]
        assert name == "test" or set(wanted) <= options | {"--help"}, options


@pytest.mark.engine
@pytest.mark.parametrize("page", ["README.md", "docs/reference/buildkit.md"])
def test_the_examples_in_python_run_one_after_the_other(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    unique: str,
    clean: object,
    page: str,
) -> None:
    project = tmp_path / "my-project"
    (project / "src").mkdir(parents=True)
    (project / "src/version.txt").write_text(f"version {unique}\n")
    (project / "Dockerfile").write_text(DOCKERFILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    text = (ROOT / page).read_text(encoding="utf-8")
    # The image of the tests has no other name, and busybox is not here.
    text = text.replace('tags=["my-project"]', f'tags=["{unique}"]').replace(
        '("my-project",)', f'("{unique}",)'
    )
    text = text.replace("library/busybox", "diamol/base")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert examples
    space: dict[str, object] = {}
    for number, example in enumerate(examples):
        exec(compile(example, f"{page} {number}", "exec"), space)
    shown = capsys.readouterr().out
    wanted = f"version {unique}\n" if page == "README.md" else "COPY src /src"
    assert wanted in shown
