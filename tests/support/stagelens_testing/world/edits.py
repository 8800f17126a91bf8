"""Edits of a project, as its author makes them: of instructions, of the context, of the build's options."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stagelens.dockerfile import Instruction, Stage
from stagelens_testing.world.projects import Workspace


@dataclass(frozen=True)
class Edit:
    """A kind of edit, and a number that picks what it changes."""

    kind: str
    pick: int

    def apply(self, workspace: Workspace) -> str | None:
        """Edit a workspace; return what was edited, or None if it has nothing of this kind."""
        return KINDS[self.kind](workspace, self.pick)


def random_edits(seed: str, count: int) -> list[Edit]:
    """Return edits that a seed decides: no kind comes again before all came once."""
    chance = random.Random(seed)
    found: list[Edit] = []
    while len(found) < count:
        kinds = sorted(KINDS)
        chance.shuffle(kinds)
        found += [Edit(kind, chance.randrange(1000)) for kind in kinds]
    return found[:count]


def _choose(options: Sequence, pick: int):
    return options[pick % len(options)] if options else None


class _Text:
    """The lines of a Dockerfile, and its instructions that an edit may change."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.lines = workspace.read_text().splitlines(keepends=True)
        self.parsed = workspace.parsed()
        self.end = "\r\n" if self.lines[0].endswith("\r\n") else "\n"

    def instructions(self, *keywords: str) -> list[tuple[Stage, Instruction]]:
        return [
            (stage, instruction)
            for stage in self.parsed.stages
            for instruction in stage.instructions[1:]
            if not self.workspace.is_marker(instruction) and not self._restores(stage, instruction)
            if not keywords or instruction.keyword in keywords
        ]

    def _restores(self, stage: Stage, instruction: Instruction) -> bool:
        before = stage.instructions[instruction.index - 1]
        return instruction.keyword == "WORKDIR" and self.workspace.is_marker(before)

    def span(self, instruction: Instruction) -> slice:
        return slice(instruction.start_line - 1, instruction.end_line)

    def text(self, instruction: Instruction) -> str:
        text = "".join(self.lines[self.span(instruction)])
        return text if text.endswith("\n") else text + self.end

    def replace(self, instruction: Instruction, text: str) -> None:
        self.lines[self.span(instruction)] = [text]

    def insert(self, after: Instruction, text: str) -> None:
        last = self.lines[after.end_line - 1]
        if not last.endswith("\n"):
            self.lines[after.end_line - 1] = last + self.end
        self.lines.insert(after.end_line, text + self.end)

    def write(self) -> None:
        self.workspace.write_text("".join(self.lines))


def _swap(workspace: Workspace, pick: int) -> str | None:
    text = _Text(workspace)
    pairs = [
        (first, second)
        for (stage, first), (other, second) in zip(text.instructions(), text.instructions()[1:], strict=False)
        if stage is other and first.end_line < second.start_line
    ]
    if (pair := _choose(pairs, pick)) is None:
        return None
    first, second = pair
    one, two = text.text(first), text.text(second)
    text.replace(second, one)
    text.replace(first, two)
    text.write()
    return f"swap lines {first.start_line} and {second.start_line}"


def _drop(workspace: Workspace, pick: int, *keywords: str) -> str | None:
    text = _Text(workspace)
    if (found := _choose(text.instructions(*keywords), pick)) is None:
        return None
    instruction = found[1]
    text.replace(instruction, "")
    text.write()
    return f"drop line {instruction.start_line} {instruction.keyword}"


def _drop_env(workspace: Workspace, pick: int) -> str | None:
    return _drop(workspace, pick, "ENV")


def _drop_setting(workspace: Workspace, pick: int) -> str | None:
    return _drop(workspace, pick, "USER", "SHELL", "WORKDIR", "LABEL", "ARG")


def _duplicate(workspace: Workspace, pick: int) -> str | None:
    text = _Text(workspace)
    if (found := _choose(text.instructions(), pick)) is None:
        return None
    instruction = found[1]
    text.replace(instruction, text.text(instruction) * 2)
    text.write()
    return f"duplicate line {instruction.start_line} {instruction.keyword}"


def _change_run(workspace: Workspace, pick: int) -> str | None:
    text = _Text(workspace)
    found = [each for _, each in text.instructions("RUN") if each.words is None and not each.heredocs]
    if (instruction := _choose(found, pick)) is None:
        return None
    body = text.text(instruction).rstrip("\r\n")
    text.replace(instruction, f"{body} && : {workspace.fresh()}{text.end}")
    text.write()
    return f"change line {instruction.start_line} RUN"


def _change_heredoc(workspace: Workspace, pick: int) -> str | None:
    text = _Text(workspace)
    found = [each for _, each in text.instructions() if each.heredocs]
    if (instruction := _choose(found, pick)) is None:
        return None
    body = text.text(instruction).splitlines(keepends=True)
    body.insert(-1, f"# {workspace.fresh()}{text.end}")
    text.replace(instruction, "".join(body))
    text.write()
    return f"change the heredoc at line {instruction.start_line}"


def _change_value(workspace: Workspace, pick: int) -> str | None:
    """Change the value of an ENV, ARG or LABEL, also of an ARG before the first FROM."""
    text = _Text(workspace)
    found = [each for _, each in text.instructions("ENV", "ARG", "LABEL")] + [*text.parsed.global_args]
    found = [each for each in found if re.search(r"=[A-Za-z0-9._]+\s*$", text.text(each))]
    if (instruction := _choose(found, pick)) is None:
        return None
    body = re.sub(r"=[A-Za-z0-9._]+\s*$", f"={workspace.fresh()}", text.text(instruction))
    text.replace(instruction, body + text.end)
    text.write()
    return f"change the value in line {instruction.start_line} {instruction.keyword}"


def _drop_default(workspace: Workspace, pick: int) -> str | None:
    text = _Text(workspace)
    found = [each for _, each in text.instructions("ARG") if re.search(r"=\S+\s*$", text.text(each))]
    if (instruction := _choose(found, pick)) is None:
        return None
    text.replace(instruction, re.sub(r"=\S+\s*$", "", text.text(instruction)) + text.end)
    text.write()
    return f"drop the default in line {instruction.start_line}"


def _insert(workspace: Workspace, pick: int) -> str | None:
    text = _Text(workspace)
    lines = ("RUN : NEW", "ENV NEW=NEW", "LABEL new=NEW", "ARG NEW=NEW", "WORKDIR /NEW", "USER 0", "# NEW")
    line = _choose(lines, pick)
    if (found := _choose(text.instructions(), pick // len(lines))) is None or line is None:
        return None
    text.insert(found[1], line.replace("NEW", workspace.fresh()))
    text.write()
    return f"insert {line} after line {found[1].end_line}"


def _onbuild(workspace: Workspace, pick: int) -> str | None:
    """Change an ONBUILD instruction, or add one to a stage that others begin with."""
    text = _Text(workspace)
    if (found := _choose(text.instructions("ONBUILD"), pick)) is not None and pick % 3:
        text.replace(found[1], f"ONBUILD RUN : {workspace.fresh()}{text.end}")
        text.write()
        return f"change the ONBUILD in line {found[1].start_line}"
    bases = {stage.base_stage for stage in text.parsed.stages if stage.base_stage is not None}
    if (base := _choose(sorted(bases), pick)) is None:
        return None
    line = _choose(("ONBUILD RUN : NEW", "ONBUILD ENV NEW=1", "ONBUILD WORKDIR /NEW"), pick)
    assert line is not None
    last = text.parsed.stages[base].instructions[-1]
    text.insert(last, line.replace("NEW", workspace.fresh()))
    text.write()
    return f"add {line} after line {last.end_line}"


def _layout(workspace: Workspace, pick: int) -> str | None:
    """Change what no cache key has: comments, letter case of a keyword, spaces behind it."""
    text = _Text(workspace)
    found = [each for _, each in text.instructions() if not each.heredocs]
    if (instruction := _choose(found, pick)) is None:
        return None
    body = text.text(instruction)
    keyword = instruction.keyword
    if pick % 3 == 0:
        body = f"# {workspace.fresh()}{text.end}{body}"
    elif pick % 3 == 1:
        body = re.sub(rf"(?i){keyword}", keyword.title(), body, count=1)
    else:
        body = re.sub(rf"(?i)({keyword}) ", r"\1   ", body, count=1)
    text.replace(instruction, body)
    text.write()
    return f"change the layout of line {instruction.start_line}"


def _rename_stage(workspace: Workspace, pick: int) -> str | None:
    text = _Text(workspace)
    names = [stage.name for stage in text.parsed.stages if stage.name and len(stage.name) > 2]
    if (name := _choose(names, pick)) is None:
        return None
    new = f"x{workspace.fresh()}"
    body = "".join(text.lines)
    body = re.sub(rf"(?im)^(\s*FROM\b.*\bAS\s+){re.escape(name)}\s*$", rf"\g<1>{new}", body)
    body = re.sub(rf"(?im)^(\s*FROM(?:\s+--\S+)*\s+){re.escape(name)}\b(?!\S)", rf"\g<1>{new}", body)
    body = re.sub(rf"(?i)(\bfrom=){re.escape(name)}(?=[\s,])", rf"\g<1>{new}", body)
    text.lines = [body]
    text.write()
    if workspace.target == name:
        workspace.target = new
    return f"rename stage {name}"


def _build_arg(workspace: Workspace, pick: int) -> str | None:
    names = re.findall(r"(?m)^\s*ARG\s+([A-Za-z_]\w*)", workspace.read_text())
    if (name := _choose(sorted(set(names)), pick)) is None:
        return None
    if pick % 3 == 0 and name in workspace.build_args:
        del workspace.build_args[name]
        return f"no --build-arg {name}"
    workspace.build_args[name] = workspace.fresh()
    return f"--build-arg {name}"


def _platform(workspace: Workspace, pick: int) -> str | None:
    workspace.platform = _choose((None, "linux/amd64", "linux/arm64", "linux/arm/v7"), pick)
    return f"--platform {workspace.platform}"


def _target(workspace: Workspace, pick: int) -> str | None:
    stage = _choose(workspace.parsed().stages, pick)
    workspace.target = stage.label if stage is not None and stage.name else None
    return f"--target {workspace.target}"


def _secret(workspace: Workspace, pick: int) -> str | None:
    if (name := _choose(sorted(workspace.secrets), pick)) is None:
        return None
    workspace.secrets[name] = workspace.fresh().encode()
    return f"another value of the secret {name}"


def _remote(workspace: Workspace, pick: int) -> str | None:
    folder = workspace.remote_folder
    if folder is None or (name := _choose(sorted(workspace.project.remote), pick)) is None:
        return None
    workspace.save(folder / name)
    (folder / name).write_text(workspace.fresh())
    return f"change the download {name}"


def _file(workspace: Workspace, pick: int, *, links: bool = False) -> str | None:
    paths = [p for p in workspace.paths() if links or not (workspace.folder / p).is_symlink()]
    return _choose(paths, pick)


def _content(workspace: Workspace, pick: int) -> str | None:
    if (name := _file(workspace, pick)) is None:
        return None
    path = workspace.folder / name
    workspace.save(path)
    data = path.read_bytes()
    path.write_bytes(data + f"\n# {workspace.fresh()}\n".encode())
    return f"change {name}"


def _touch(workspace: Workspace, pick: int) -> str | None:
    """Give a file another time and the same content."""
    if (name := _file(workspace, pick)) is None:
        return None
    path = workspace.folder / name
    workspace.save(path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9 * (1 + pick)))
    return f"touch {name}"


def _stale(workspace: Workspace, pick: int) -> str | None:
    """Give a file other content of the same size, and its old time: BuildKit does not notice."""
    if (name := _file(workspace, pick)) is None:
        return None
    path = workspace.folder / name
    data = path.read_bytes()
    if not data:
        return None
    workspace.save(path)
    info = path.stat()
    path.write_bytes(bytes((byte + 1) % 256 for byte in data))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    return f"change {name}, with its size and time unchanged"


def _chmod(workspace: Workspace, pick: int) -> str | None:
    name = _choose([*workspace.paths(), *workspace.paths(folders=True)], pick)
    if name is None or (workspace.folder / name).is_symlink():
        return None
    path = workspace.folder / name
    workspace.save(path)
    modes = (0o700, 0o777, 0o750) if path.is_dir() else (0o600, 0o755, 0o640)
    path.chmod(modes[pick % 3])
    return f"chmod {modes[pick % 3]:o} {name}"


def _rename(workspace: Workspace, pick: int) -> str | None:
    if (name := _file(workspace, pick, links=True)) is None:
        return None
    path = workspace.folder / name
    new = path.with_name(f"{path.stem}-{workspace.fresh()}{path.suffix}")
    workspace.save(path)
    workspace.save(new)
    path.rename(new)
    return f"rename {name}"


def _add_file(workspace: Workspace, pick: int) -> str | None:
    folder = _choose([".", *workspace.paths(folders=True)], pick)
    assert folder is not None
    path = workspace.folder / folder / f"{workspace.fresh()}.txt"
    workspace.save(path)
    path.write_text(workspace.fresh())
    return f"add a file to {folder}"


def _remove_file(workspace: Workspace, pick: int) -> str | None:
    if (name := _file(workspace, pick, links=True)) is None:
        return None
    path = workspace.folder / name
    workspace.save(path)
    path.unlink()
    return f"remove {name}"


def _link(workspace: Workspace, pick: int) -> str | None:
    """Turn a file into a symlink to a copy of it."""
    if (name := _file(workspace, pick)) is None:
        return None
    path = workspace.folder / name
    copy = path.with_name(f"{path.name}-{workspace.fresh()}")
    workspace.save(path)
    workspace.save(copy)
    path.rename(copy)
    path.symlink_to(copy.name)
    return f"make {name} a symlink"


def _ignore(workspace: Workspace, pick: int) -> str | None:
    path = workspace.folder / ".dockerignore"
    lines = path.read_text().splitlines() if path.is_file() else []
    name = _file(workspace, pick // 5, links=True) or "none"
    match pick % 5:
        case 0:
            lines.append(name)
        case 1:
            lines.append(f"!{name}")
        case 2:
            lines.append(f"**/*{os.path.splitext(name)[1] or '.none'}")  # noqa: PTH122
        case 3:
            lines.insert(0, f"# {workspace.fresh()}")
        case _:
            lines = lines[1:]
    workspace.save(path)
    path.write_text("".join(f"{line}\n" for line in lines))
    return f"edit .dockerignore: {lines[:1]} … {lines[-1:]}"


KINDS: dict[str, Callable[[Workspace, int], str | None]] = {
    "swap": _swap,
    "drop": _drop,
    "drop-env": _drop_env,
    "drop-setting": _drop_setting,
    "drop-default": _drop_default,
    "duplicate": _duplicate,
    "change-run": _change_run,
    "change-heredoc": _change_heredoc,
    "change-value": _change_value,
    "insert": _insert,
    "onbuild": _onbuild,
    "layout": _layout,
    "rename-stage": _rename_stage,
    "build-arg": _build_arg,
    "platform": _platform,
    "target": _target,
    "secret": _secret,
    "remote": _remote,
    "content": _content,
    "touch": _touch,
    "stale": _stale,
    "chmod": _chmod,
    "rename": _rename,
    "add-file": _add_file,
    "remove-file": _remove_file,
    "link": _link,
    "ignore": _ignore,
}
