"""Projects on disk, and copies of them that can be edited and rebuilt."""

from __future__ import annotations

import os
import shutil
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stagelens.dockerfile import Dockerfile, Instruction, load, parse
from stagelens.engine import Engine

OPTIONS = "world.toml"
# In a Dockerfile: the address of the server that ADD downloads from.
REMOTE = "http://remote.invalid"


@dataclass(frozen=True)
class Project:
    """A build context with a Dockerfile, and the options of its build.

    `newer` tells that the frontend in Engine 20.10 cannot build it. `remote` has the files of the server
    that its ADD instructions download from.
    """

    name: str
    folder: Path
    dockerfile: str = "Dockerfile"
    build_args: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    remote: Mapping[str, str] = field(default_factory=dict[str, str])
    target: str | None = None
    newer: bool = False


def find_projects(root: Path) -> Iterator[Project]:
    """Yield every folder at or below `root` that has a Dockerfile, with its options from `world.toml`."""
    options = _read_options(root)
    for folder, folders, files in sorted(os.walk(root)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if "Dockerfile" in files:
            path = Path(folder)
            name = path.name if path == root else path.relative_to(root).as_posix()
            yield Project(name, path, **options.get(name, {}))


def supports_newer(engine: Engine) -> bool:
    """Whether an engine has the frontend that `Project.newer` needs."""
    return int(engine.info.version.partition(".")[0]) >= 24


def _read_options(root: Path) -> Mapping[str, Mapping[str, Any]]:
    path = root / OPTIONS
    return tomllib.loads(path.read_text()) if path.is_file() else {}


class Workspace:
    """A copy of a project that edits change and undo.

    Every stage that starts from an image or from scratch gets a folder whose name no other build has. So the
    engine has no results of earlier runs for any step, and a forecast can be held against what it did.

    Parameters
    ----------
    project
        The project.
    folder
        An empty folder for the copy.
    token
        A word that no other run uses.
    engine
        The engine, which knows the working folder of each base image.
    remote
        The address of the server that ADD instructions download from.
    remote_folder
        The files of that server.
    """

    def __init__(
        self,
        project: Project,
        folder: Path,
        token: str,
        engine: Engine,
        remote: str = REMOTE,
        remote_folder: Path | None = None,
    ) -> None:
        self.project = project
        self.folder = folder / "context"
        self.token = token
        self.build_args: dict[str, str] = dict(project.build_args)
        self.secrets: dict[str, bytes] = {name: text.encode() for name, text in project.secrets.items()}
        self.target = project.target
        self.platform: str | None = None
        self.remote_folder = remote_folder
        self._count = 0
        self._saved: dict[Path, _Saved] = {}
        self._options = self._copy_options()
        shutil.copytree(project.folder, self.folder, symlinks=True)
        if remote_folder is not None:
            for name, text in project.remote.items():
                (remote_folder / name).write_text(text)
        self.write_text(self._unique(self.read_text().replace(REMOTE, remote), engine))
        self.commit()

    @property
    def dockerfile(self) -> Path:
        return self.folder / self.project.dockerfile

    def fresh(self) -> str:
        """Return a word that nothing had before; all have the same length."""
        self._count += 1
        return f"{self.token}{self._count:04}"

    def parsed(self) -> Dockerfile:
        return load(self.dockerfile, self.build_args)

    def read_text(self) -> str:
        return self.dockerfile.read_bytes().decode()

    def write_text(self, text: str) -> None:
        self.save(self.dockerfile)
        self.dockerfile.write_bytes(text.encode())

    def paths(self, *, folders: bool = False) -> list[str]:
        """List the files of the context, or its folders, in order."""
        found = [
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if (path.is_dir() and not path.is_symlink()) == folders
        ]
        return sorted(set(found) - {self.project.dockerfile, ".dockerignore"})

    def save(self, path: Path) -> None:
        """Note the state of a path, which `undo` restores."""
        self._saved.setdefault(path, _Saved.read(path))

    def commit(self) -> None:
        """Make the edits so far permanent."""
        self._saved.clear()
        self._options = self._copy_options()

    def undo(self) -> None:
        """Restore what was saved since the last `commit`."""
        for path, saved in reversed(self._saved.items()):
            saved.restore(path)
        self._saved.clear()
        self.build_args, self.secrets, self.target, self.platform = self._options
        self._options = self._copy_options()

    def is_marker(self, instruction: Instruction) -> bool:
        """Whether an instruction is not the project's: it makes a stage unique."""
        return self.token in instruction.arguments and instruction.keyword == "WORKDIR"

    def edited(self) -> set[str]:
        """Return the paths of the context that were saved since the last `commit`."""
        return {p.relative_to(self.folder).as_posix() for p in self._saved if p.is_relative_to(self.folder)}

    def _copy_options(self) -> tuple[dict[str, str], dict[str, bytes], str | None, str | None]:
        return dict(self.build_args), dict(self.secrets), self.target, self.platform

    def _unique(self, text: str, engine: Engine) -> str:
        dockerfile = parse(text, build_args=self.build_args)
        lines = text.splitlines(keepends=True)
        for stage in reversed(dockerfile.stages):
            if stage.base_stage is None:
                end = stage.instructions[0].end_line
                lines[end - 1] = lines[end - 1].rstrip("\r\n") + "\n"
                marker = f"WORKDIR /{self.token}/{stage.index}\nWORKDIR {_workdir(engine, stage.base)}\n"
                lines.insert(end, marker)
        return "".join(lines)


@dataclass(frozen=True)
class _Saved:
    """The state of a path: None as `mode` tells that nothing was there."""

    mode: int | None
    content: bytes = b""
    target: str = ""
    times: tuple[int, int] = (0, 0)

    @classmethod
    def read(cls, path: Path) -> _Saved:
        if not os.path.lexists(path):
            return cls(None)
        info = path.lstat()
        times = info.st_atime_ns, info.st_mtime_ns
        if path.is_symlink():
            return cls(info.st_mode, target=os.readlink(path), times=times)  # noqa: PTH115
        content = b"" if path.is_dir() else path.read_bytes()
        return cls(info.st_mode, content, times=times)

    def restore(self, path: Path) -> None:
        if self.mode is not None and stat.S_ISDIR(self.mode):
            path.mkdir(exist_ok=True)
        elif os.path.lexists(path):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if self.mode is None:
            return
        if stat.S_ISLNK(self.mode):
            path.symlink_to(self.target)
        elif stat.S_ISREG(self.mode):
            path.write_bytes(self.content)
        if not stat.S_ISLNK(self.mode):
            path.chmod(stat.S_IMODE(self.mode))
        os.utime(path, ns=self.times, follow_symlinks=False)


def _workdir(engine: Engine, base: str) -> str:
    if base.lower() == "scratch":
        return "/"
    config = engine.api.inspect_image(base).get("Config") or {}
    return config.get("WorkingDir") or "/"
