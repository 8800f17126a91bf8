"""What BuildKit's graph holds of an instruction, as a text: two that make the same op have the same text.

BuildKit (frontend/dockerfile/dockerfile2llb) makes an op of every RUN, COPY, ADD and WORKDIR. What the op
does not hold is in no cache key: how a path, a mount or a user was written, what a stage is called, which
folder a file is copied from. The files that an op takes count by their content: see taken.py.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stagelens.buildkit.context.patterns import has_wildcards
from stagelens.dockerfile import (
    Heredoc,
    Instruction,
    expand,
    is_heredoc_marker,
    mount_options,
    split_whitespace,
)

_REMOTE = re.compile(r"^(https?://|git@|ssh://|git://)")
_SYNONYMS = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}
# What holds where nothing is said, by the option's name.
_DEFAULTS = {"type": "bind", "sharing": "shared"}


@dataclass(frozen=True, slots=True)
class Place:
    """What holds for an instruction where it stands; `values` are those of the variables."""

    values: Mapping[str, str]
    escape: str
    folder: str
    user: str = ""
    shell: Sequence[str] = ()
    network: str = "default"

    def expanded(self, text: str) -> str:
        """A word with its variables replaced; as it is written where that cannot be done."""
        try:
            return expand(text, self.values, self.escape)
        except ValueError:
            return text


def clean(path: str) -> str:
    """A path from its root, without a slash at either end; "." is the root itself."""
    return posixpath.normpath("/" + path).lstrip("/") or "."


def rooted(folder: str, path: str) -> str:
    """A path of the image, from its root, where `folder` is the one to begin from."""
    return posixpath.normpath("/" + posixpath.join(folder, path).lstrip("/"))


def is_remote(source: str) -> bool:
    """Whether what an ADD takes is an address."""
    return _REMOTE.match(source) is not None


def is_set(instruction: Instruction, flag: str) -> bool:
    """Whether a flag that is true or false is true."""
    value = instruction.flag(flag)
    return value is not None and value.lower() in ("", "true")


def sources(instruction: Instruction, place: Place) -> list[str]:
    """The paths and addresses that a COPY or ADD takes; here-documents are none."""
    words = [word for word in _words(instruction)[:-1] if not is_heredoc_marker(word)]
    return [place.expanded(word) for word in words]


def target(instruction: Instruction, place: Place) -> str:
    """The folder or file that a COPY, ADD or WORKDIR names, with its variables replaced."""
    words = [instruction.arguments] if instruction.keyword == "WORKDIR" else _words(instruction)
    return place.expanded(words[-1])


def pivot(source: str) -> tuple[str, str]:
    """A source of a COPY --parents: the folder to begin from, and the pattern of the paths to keep."""
    folder, cut, pattern = source.partition("/./")
    return (clean(folder), clean(pattern)) if cut else (".", clean(source))


def reach(source: str) -> str:
    """The path or plain pattern of the context that holds all that a source of a COPY --parents may be."""
    folder, pattern = pivot(source)
    return folder if has_wildcards(pattern) else clean(f"{folder}/{pattern}")


def mounts(instruction: Instruction) -> Iterator[dict[str, str]]:
    """The options of each of a RUN's mounts, by their own names."""
    for flag in instruction.flags:
        if flag.name == "mount":
            options = mount_options(flag.value or "")
            yield {_SYNONYMS.get(name.strip(), name.strip()): value for name, value in options.items()}


def by_content(instruction: Instruction) -> bool:
    """Whether a RUN may be known by the content of what it begins from.

    Engine 26 does that where a secret or a socket of SSH is mounted: to it the mount is one of the root.
    """
    return any(options.get("type") in ("secret", "ssh") for options in mounts(instruction))


def op(instruction: Instruction, place: Place) -> str:
    """The op of a RUN (without its variables), COPY, ADD or WORKDIR."""
    match instruction.keyword:
        case "RUN":
            return _run(instruction, place)
        case "WORKDIR":
            user = f" as {_owner(place.user)}" if place.user else ""
            return f"WORKDIR {rooted(place.folder, target(instruction, place))}{user}"
        case _:
            return _copy(instruction, place)


def _run(instruction: Instruction, place: Place) -> str:
    words, file = _command(instruction, place.shell)
    flags = [f"--mount={text}" for text in sorted(_mount(each, place.folder) for each in mounts(instruction))]
    flags += [f.text for f in instruction.flags if f.name not in ("mount", "network", "security")]
    network = instruction.flag("network") or "default"
    network = place.network if network == "default" else network
    flags += [f"--network={network}"] if network != "default" else []
    security = instruction.flag("security") or "sandbox"
    flags += [f"--security={security}"] if security != "sandbox" else []
    rest = [json.dumps(words, ensure_ascii=False), "in", place.folder]
    user = ["as", place.user] if place.user else []
    return " ".join(["RUN", *flags, *rest, *user]) + file


def _command(instruction: Instruction, shell: Sequence[str]) -> tuple[Sequence[str], str]:
    """What a RUN starts, and the file that is made for that, if any."""
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


def _mount(options: Mapping[str, str], folder: str) -> str:
    """A mount without what is found by content: where its files are from."""
    kind = options.get("type", "bind")
    place = options.get("target", "")
    if kind == "secret" and not place:
        place = f"/run/secrets/{posixpath.basename(options.get('id', ''))}"
    defaults = _DEFAULTS | ({"id": posixpath.normpath(place)} if kind == "cache" else {})
    known = ("from", "source", "target", "readonly", "readwrite", "required")
    named = {name: value for name, value in options.items() if name not in known}
    named |= {"mode": options["mode"].lstrip("0")} if "mode" in options else {}
    kept = [f"{name}={value}" for name, value in named.items() if defaults.get(name) != value]
    kept += ["required"] if _is_true(options.get("required", "false")) else []
    if kind in ("bind", "cache"):
        read_only = kind == "bind"
        if "readwrite" in options:
            read_only = not _is_true(options["readwrite"])
        elif "readonly" in options:
            read_only = _is_true(options["readonly"])
        kept += ["readonly"] if read_only else []
    place = place if place.startswith("/") else rooted(folder, place)
    return ",".join([f"target={place}", *sorted(kept)])


def _copy(instruction: Instruction, place: Place) -> str:
    taken = sources(instruction, place)
    remote = [source for source in taken if is_remote(source)]
    local = [source for source in taken if not is_remote(source)]
    parents = is_set(instruction, "parents")
    names = [
        "/./".join(pivot(source)) if parents else posixpath.basename("/" + clean(source)) for source in local
    ]
    # Only files are unpacked: what an address or a here-document gives is put there as it is.
    keyword = instruction.keyword if local else "COPY"
    flags = _copy_flags(instruction, place)
    documents = [f"<<{heredoc.name}" for heredoc in instruction.heredocs]
    bodies = [f"\n{_body(heredoc, place)}" for heredoc in instruction.heredocs]
    words = [keyword, *flags, *remote, *names, *documents, _destination(instruction, place)]
    return " ".join(words) + "".join(bodies)


def _copy_flags(instruction: Instruction, place: Place) -> Iterator[str]:
    if owner := place.expanded(instruction.flag("chown") or ""):
        yield f"--chown={_owner(owner)}"
    if mode := place.expanded(instruction.flag("chmod") or ""):
        yield f"--chmod={mode.lstrip('0') or '0'}"
    yield from (f"--{name}" for name in ("keep-git-dir", "parents") if is_set(instruction, name))
    for flag in instruction.flags:
        if flag.name in ("exclude", "checksum", "unpack"):
            yield f"--{flag.name}={place.expanded(flag.value or '')}"


def _owner(text: str) -> str:
    """USER[:GROUP] as numbers where BuildKit knows them without looking into the image."""
    parts = ("0" if part == "root" else part for part in text.split(":", 1))
    return ":".join(str(int(part)) if part.isdecimal() else part for part in parts)


def _destination(instruction: Instruction, place: Place) -> str:
    """Where a COPY puts things, from the root; a slash at its end says that it is a folder."""
    written = target(instruction, place)
    path = rooted(place.folder, written)
    is_folder = written.endswith("/") or written in (".", "")
    return f"{path}/" if is_folder and path != "/" else path


def _body(heredoc: Heredoc, place: Place) -> str:
    """A COPY's here-document as the file that it becomes."""
    try:
        return expand(heredoc.body, place.values, quotes="") if heredoc.expand else heredoc.body
    except ValueError:
        return heredoc.body


def _words(instruction: Instruction) -> Sequence[str]:
    return instruction.words or split_whitespace(instruction.arguments)


def _is_true(value: str) -> bool:
    return value.lower() in ("", "1", "true")
