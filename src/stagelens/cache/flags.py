"""The flags of an instruction as the cache knows them: without names of stages, in whatever way written."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from stagelens.dockerfile import Flag, Instruction, mount_options

_SYNONYMS = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}
# What holds where nothing is said, by the flag's or the option's name.
_DEFAULT_FLAGS = {"network": "default", "security": "sandbox"}
_DEFAULTS = {"type": "bind", "sharing": "shared", "required": "false"}


def known_flags(instruction: Instruction) -> tuple[Flag, ...]:
    """Without what they call the stage or image that files are taken from, and without what holds anyway.

    A RUN's mounts count by their options and stand in the order of their targets.
    """
    mounts = [_known_mount(_options(flag)) for flag in instruction.flags if flag.name == "mount"]
    others = (f for f in instruction.flags if f.name not in ("mount", "from"))
    kept = (flag for flag in others if (flag.name, flag.value) not in _DEFAULT_FLAGS.items())
    return (*kept, *(Flag("mount", mount) for mount in sorted(mounts)))


def mounted_paths(instruction: Instruction) -> Iterator[str]:
    """The paths of the context that a RUN mounts: bind mounts that name no stage."""
    for flag in instruction.flags:
        options = _options(flag) if flag.name == "mount" else {"from": ""}
        if options.get("type", "bind") == "bind" and "from" not in options:
            yield options.get("source") or "."


def clean(path: str) -> str:
    """A path of the context from its root, without a slash at either end; "." is the root itself."""
    return posixpath.normpath("/" + path).lstrip("/") or "."


def _options(flag: Flag) -> dict[str, str]:
    found = mount_options(flag.value or "")
    return {_SYNONYMS.get(name.strip(), name.strip()): value for name, value in found.items()}


def _known_mount(options: dict[str, str]) -> str:
    """The options in one text that begins with the target."""
    kind, target = options.get("type"), options.get("target", "")
    if kind == "secret" and not target:
        target = f"/run/secrets/{posixpath.basename(options.get('id', ''))}"
    defaults = _DEFAULTS | ({"id": target} if kind == "cache" else {})
    if "source" in options:
        options = {**options, "source": clean(options["source"])}
    named = {name: value for name, value in options.items() if name not in ("from", "target")}
    kept = [f"{name}={value}" for name, value in named.items() if defaults.get(name) != value]
    return ",".join([f"target={target}", *sorted(kept)])
