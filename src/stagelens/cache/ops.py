"""Read an instruction as the op that BuildKit makes of it: equal ops have equal text.

BuildKit (frontend/dockerfile/dockerfile2llb) makes an op of every RUN, COPY, ADD and WORKDIR. Cache keys hold
only the op. The notation of a path, mount or user, the name of a stage, and the folder of a copied file are
not in it. Copied files count by their content: see context_files.py.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from stagelens.buildkit.context.patterns import has_wildcards
from stagelens.dockerfile import (
    Heredoc,
    Instruction,
    expand,
    is_heredoc_marker,
    mount_options,
    split_whitespace,
)

_HTTP = re.compile(r"https?://")
# A repository is a URL that ends in .git before its query or fragment, or has one of Git's schemes.
_GIT = re.compile(r"https?://[^?#]*\.git(?:[?#]|$)|git://|ssh://|[\w.-]+@[\w.-]+:")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SYNONYMS = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}
# The values of mount options that are left out.
_DEFAULTS = {"type": "bind", "sharing": "shared"}


@dataclass(frozen=True, slots=True)
class InstructionScope:
    """The variables and settings that apply to an instruction.

    Attributes
    ----------
    variables
        The values of variables by name.
    escape
        The escape character of the Dockerfile.
    workdir, user, shell
        The current WORKDIR, USER and SHELL.
    network
        The network mode of the build.
    cache_ids
        Whether the `id` and `sharing` of cache mounts count; BuildKit 0.13 and newer only tells defaults from
        other values.
    """

    variables: Mapping[str, str]
    escape: str
    workdir: str
    user: str = ""
    shell: Sequence[str] = ()
    network: str = "default"
    cache_ids: bool = True

    def expand(self, text: str) -> str:
        """Replace the variables of a word; a word with invalid syntax stays as written."""
        try:
            return expand(text, self.variables, self.escape)
        except ValueError:
            return text


@dataclass(frozen=True, slots=True)
class Download:
    """A URL or Git repository that an ADD downloads.

    Attributes
    ----------
    url
        The address, expanded.
    pin
        What BuildKit's cache key has instead of the server's answer: a checksum with the file's name, or a
        commit; None if only the server knows the content.
    """

    url: str
    pin: str | None = None


@dataclass(frozen=True, slots=True)
class Op:
    """An instruction as BuildKit's graph holds it.

    Attributes
    ----------
    text
        The op as text, without the variables of a RUN: instructions with the same op have the same text.
    sources
        The paths and patterns that a COPY or ADD names, expanded.
    downloads
        The URLs and Git repositories that an ADD names.
    exclude
        The patterns of `--exclude`.
    parents
        Whether a COPY has `--parents`.
    mounts
        The options of each `--mount` of a RUN, by their canonical names.
    target
        The path that a COPY, ADD or WORKDIR names, expanded.
    linked
        Whether a COPY or ADD may become a separate layer (`--link`).
    by_content
        Whether the engine may look up a RUN by the content of its parent's files. Engine 26 does so for a RUN
        with a secret or SSH mount, because it treats that as a mount of the root.
    """

    text: str
    sources: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    exclude: tuple[str, ...] = ()
    parents: bool = False
    mounts: tuple[Mapping[str, str], ...] = ()
    target: str = ""
    linked: bool = False
    by_content: bool = False


def read_op(instruction: Instruction, scope: InstructionScope) -> Op:
    """Read a RUN, COPY, ADD or WORKDIR with the variables and settings that apply to it."""
    match instruction.keyword:
        case "RUN":
            return _run(instruction, scope)
        case "WORKDIR":
            return _workdir(instruction, scope)
        case _:
            return _copy(instruction, scope)


def normalize_path(path: str) -> str:
    """Normalize a path of the context, without a slash at either end; "." is the root."""
    return posixpath.normpath("/" + path).lstrip("/") or "."


def absolute_path(workdir: str, path: str) -> str:
    """Join a path of an image to the working folder and normalize it."""
    return posixpath.normpath("/" + posixpath.join(workdir, path).lstrip("/"))


def split_parents(source: str) -> tuple[str, str]:
    """Split a source of `COPY --parents` at `/./` into a folder and the pattern of the paths to copy."""
    folder, separator, pattern = source.partition("/./")
    return (normalize_path(folder), normalize_path(pattern)) if separator else (".", normalize_path(source))


def context_path(source: str) -> str:
    """Return the path or pattern of the context that includes every file of a `COPY --parents` source."""
    folder, pattern = split_parents(source)
    return folder if has_wildcards(pattern) else normalize_path(f"{folder}/{pattern}")


def _workdir(instruction: Instruction, scope: InstructionScope) -> Op:
    target = scope.expand(instruction.arguments)
    user = f" as {_owner(scope.user)}" if scope.user else ""
    return Op(f"WORKDIR {absolute_path(scope.workdir, target)}{user}", target=target)


def _run(instruction: Instruction, scope: InstructionScope) -> Op:
    mounts = tuple(_mounts(instruction, scope))
    words, file = _command(instruction, scope.shell)
    flags = [f"--mount={text}" for text in sorted(_mount_text(each, scope) for each in mounts)]
    flags += [f.text for f in instruction.flags if f.name not in ("mount", "network", "security")]
    network = instruction.flag("network") or "default"
    network = scope.network if network == "default" else network
    flags += [f"--network={network}"] if network != "default" else []
    security = instruction.flag("security") or "sandbox"
    flags += [f"--security={security}"] if security != "sandbox" else []
    rest = [json.dumps(words, ensure_ascii=False), "in", scope.workdir]
    user = ["as", scope.user] if scope.user else []
    return Op(
        " ".join(["RUN", *flags, *rest, *user]) + file,
        mounts=mounts,
        by_content=any(options.get("type") in ("secret", "ssh") for options in mounts),
    )


def _mounts(instruction: Instruction, scope: InstructionScope) -> Iterator[dict[str, str]]:
    """Yield the options of each mount, expanded as BuildKit does (frontend/dockerfile/instructions)."""
    for flag in instruction.flags:
        if flag.name == "mount":
            options = mount_options(flag.value or "")
            found = {_SYNONYMS.get(name, name): scope.expand(value) for name, value in options.items()}
            yield found | {name: found[name].lower() for name in ("type", "sharing") if name in found}


def _command(instruction: Instruction, shell: Sequence[str]) -> tuple[Sequence[str], str]:
    """Return the command of a RUN, and the content of the script file that BuildKit creates for it."""
    if instruction.words is not None and not instruction.heredocs:
        return instruction.words, ""
    if not instruction.heredocs:
        return [*shell, instruction.arguments], ""
    first = instruction.heredocs[0]
    if not is_heredoc_marker(instruction.arguments):
        rest = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in instruction.heredocs)
        return [*shell, instruction.arguments + rest], ""
    if not first.content.startswith("#!"):
        return [*shell, first.body], ""
    return [*shell, f"/dev/pipes/{first.name}"], f"\n{first.body}"


def _mount_text(options: Mapping[str, str], scope: InstructionScope) -> str:
    """Return a mount without the source of its files, which count by content."""
    kind = options.get("type", "bind")
    target = options.get("target", "")
    if kind == "secret":
        name = options.get("source") or options.get("id") or posixpath.basename(target)
        target = target or f"/run/secrets/{posixpath.basename(name)}"
        options = {**options, "id": name}
    defaults = _DEFAULTS | ({"id": posixpath.normpath(target)} if kind == "cache" else {})
    handled = ("from", "source", "target", "readonly", "readwrite", "required")
    named = {name: value for name, value in options.items() if name not in handled}
    if kind == "cache" and not scope.cache_ids:
        identity = [named.pop(name, defaults[name]) == defaults[name] for name in ("id", "sharing")]
        named |= {} if all(identity) else {"id": "another"}
    named |= {"mode": options["mode"].lstrip("0")} if "mode" in options else {}
    words = [f"{name}={value}" for name, value in named.items() if defaults.get(name) != value]
    words += ["required"] if _is_true(options.get("required", "false")) else []
    if kind in ("bind", "cache"):
        read_only = kind == "bind"
        if "readwrite" in options:
            read_only = not _is_true(options["readwrite"])
        elif "readonly" in options:
            read_only = _is_true(options["readonly"])
        words += ["readonly"] if read_only else []
    target = target if target.startswith("/") else absolute_path(scope.workdir, target)
    return ",".join([f"target={target}", *sorted(words)])


def _copy(instruction: Instruction, scope: InstructionScope) -> Op:
    words = instruction.words or split_whitespace(instruction.arguments)
    named = [scope.expand(word) for word in words[:-1] if not is_heredoc_marker(word)]
    target = scope.expand(words[-1])
    parents = _is_set(instruction, "parents")
    remote = [name for name in named if _HTTP.match(name) or _GIT.match(name)]
    checksum = scope.expand(instruction.flag("checksum") or "")
    sources = [name if parents else normalize_path(name) for name in named if name not in remote]
    names = ["/./".join(split_parents(s)) if parents else posixpath.basename("/" + s) for s in sources]
    # ADD unpacks only local files, so without one it equals a COPY.
    keyword = instruction.keyword if sources else "COPY"
    flags = _copy_flags(instruction, scope)
    documents = [f"<<{heredoc.name}" for heredoc in instruction.heredocs]
    bodies = [f"\n{_heredoc_file(heredoc, scope)}" for heredoc in instruction.heredocs]
    return Op(
        " ".join(
            [keyword, *flags, *map(_downloaded_name, remote), *names, *documents, _destination(target, scope)]
        )
        + "".join(bodies),
        sources=tuple(sources),
        downloads=tuple(
            Download(url, _pin(url, checksum, keep=_is_set(instruction, "keep-git-dir"))) for url in remote
        ),
        exclude=tuple(scope.expand(f.value) for f in instruction.flags if f.name == "exclude" and f.value),
        parents=parents,
        target=target,
        # BuildKit ignores --link together with --chmod.
        linked=_is_set(instruction, "link") and not instruction.flag("chmod"),
    )


def _copy_flags(instruction: Instruction, scope: InstructionScope) -> Iterator[str]:
    if owner := scope.expand(instruction.flag("chown") or ""):
        yield f"--chown={_owner(owner)}"
    if mode := scope.expand(instruction.flag("chmod") or ""):
        yield f"--chmod={mode.lstrip('0') or '0'}"
    yield from (f"--{name}" for name in ("keep-git-dir", "parents") if _is_set(instruction, name))
    for flag in instruction.flags:
        if flag.name in ("exclude", "unpack"):
            yield f"--{flag.name}={scope.expand(flag.value or '')}"


def _downloaded_name(url: str) -> str:
    """Return the name that a download has before it is copied: BuildKit compares it and the content."""
    if _GIT.match(url):
        return "/"
    return posixpath.basename(urlsplit(url).path) or "__unnamed__"


def _pin(url: str, checksum: str, *, keep: bool) -> str | None:
    """Return what makes the content of a download certain (BuildKit's source/http and source/git)."""
    if not _GIT.match(url):
        return f"{_downloaded_name(url)} {checksum}" if checksum else None
    address, _, fragment = url.partition("#")
    reference, _, folder = fragment.partition(":")
    query = dict(parse_qsl(address.partition("?")[2], keep_blank_values=True))
    reference = reference or query.get("ref") or query.get("tag") or query.get("branch") or ""
    commit = checksum or query.get("checksum") or query.get("commit") or reference
    if not _COMMIT.fullmatch(commit):
        return None
    # With .git the history counts, too, which depends on what was fetched.
    history = f" {reference}" if keep or "keep-git-dir" in query else ""
    return f"git {commit}{history}:{folder or query.get('subdir', '')}"


def _owner(text: str) -> str:
    """Return USER[:GROUP] as numbers where BuildKit knows them without the files of the image."""
    parts = ("0" if part == "root" else part for part in text.split(":", 1))
    return ":".join(str(int(part)) if part.isdecimal() else part for part in parts)


def _destination(target: str, scope: InstructionScope) -> str:
    """Return the absolute target of a COPY; a slash at the end marks a folder."""
    path = absolute_path(scope.workdir, target)
    is_folder = target.endswith("/") or target in (".", "")
    return f"{path}/" if is_folder and path != "/" else path


def _heredoc_file(heredoc: Heredoc, scope: InstructionScope) -> str:
    """Return the content of the file that a COPY creates from a here-document."""
    try:
        return expand(heredoc.body, scope.variables, quotes="") if heredoc.expand else heredoc.body
    except ValueError:
        return heredoc.body


def _is_set(instruction: Instruction, flag: str) -> bool:
    value = instruction.flag(flag)
    return value is not None and value.lower() in ("", "true")


def _is_true(value: str) -> bool:
    return value.lower() in ("", "1", "true")
