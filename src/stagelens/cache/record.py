"""Keep what a build was made from: the context's files, the base images, the arguments."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound

from stagelens import engine as engines
from stagelens.buildkit import Cancel
from stagelens.builds import BuildTrace, build
from stagelens.builds.run import OnVertex
from stagelens.cache.manifest import read_manifest
from stagelens.cache.model import Base, BuildRecord, Inputs
from stagelens.cache.steps import base_names, context_sources
from stagelens.dockerfile import load
from stagelens.errors import StagelensError, short_traceback_on_interrupt

_PULLED = re.compile(r"FROM (?:docker\.io/(?:library/)?)?(?P<name>\S+?)@(?P<digest>sha256:[0-9a-f]{64})")


@short_traceback_on_interrupt()
def record(
    context: str | Path,
    trace: BuildTrace | None = None,
    *,
    dockerfile: str | Path | None = None,
    target: str | None = None,
    build_args: Mapping[str, str | None] | None = None,
    network: str | None = None,
    platform: str | None = None,
    no_cache: bool = False,
    tags: Sequence[str] = (),
    engine: engines.Engine | None = None,
    on_vertex: OnVertex | None = None,
    cancel: Cancel | None = None,
    **options: Any,
) -> BuildRecord:
    """Build as `stagelens.build` does, with the same arguments, and keep what the build was made from.

    With the `trace` of a build that was just made nothing is built, and the other arguments are that build's:
    the context must still be what it was. Two records are what `explain` compares.

    Raises
    ------
    BuildFailed, StagelensError: as `stagelens.build` does.
    """
    found = engine or engines.connect()
    if trace is not None:
        inputs = read_inputs(context, engine=found, **_asked(trace))
        return BuildRecord(_with_pulled(found, inputs, trace), trace)
    asked: dict[str, Any] = {"dockerfile": dockerfile, "target": target, "build_args": build_args}
    asked |= {"network": network, "platform": platform, "no_cache": no_cache}
    # Before the build: what is edited while it runs belongs to the next one.
    inputs = read_inputs(context, engine=found, **asked)
    watched: dict[str, Any] = {"tags": tags, "on_vertex": on_vertex, "cancel": cancel}
    trace = build(context, engine=found, **asked, **watched, **options)
    return BuildRecord(_with_pulled(found, inputs, trace), trace)


def read_inputs(
    context: str | Path,
    *,
    dockerfile: str | Path | None = None,
    target: str | None = None,
    build_args: Mapping[str, str | None] | None = None,
    network: str | None = None,
    platform: str | None = None,
    no_cache: bool = False,
    engine: engines.Engine | None = None,
) -> Inputs:
    """What a build of `context` would be made from now; nothing is built.

    Raises
    ------
    DockerfileError: the Dockerfile cannot be read. StagelensError: the context cannot be read.
    """
    folder = Path(context)
    if not folder.is_dir():
        raise StagelensError("The build context is not a folder.", where=str(context), remedy="give a folder")
    found = engine or engines.connect()
    path = Path(dockerfile) if dockerfile else folder / "Dockerfile"
    given = {name: value for name, value in (build_args or {}).items() if value is not None}
    parsed = load(path, given)
    bases = {name: base for name in base_names(parsed, target) if (base := _base(found, name))}
    return Inputs(
        dockerfile=parsed,
        files=read_manifest(folder, path.absolute(), context_sources(parsed, given, target)),
        bases=bases,
        build_args=given,
        target=target,
        network=network,
        platform=platform or f"{found.info.os}/{found.info.architecture}",
        no_cache=no_cache,
        engine=found.info.id,
        merges=found.info.containerd_store,
    )


def _asked(trace: BuildTrace) -> dict[str, Any]:
    names = ("target", "build_args", "network", "platform", "no_cache")
    return {"dockerfile": trace.dockerfile.path} | {name: getattr(trace.request, name) for name in names}


def _base(engine: engines.Engine, name: str) -> Base | None:
    """The image as the engine has it now, or None where it has none of that name."""
    try:
        image: dict[str, Any] = engine.api.inspect_image(name)
    except (NotFound, APIError):
        return None
    config: dict[str, Any] = image.get("Config") or {}
    pairs = [str(line).partition("=") for line in config.get("Env") or ()]
    layers = json.dumps((image.get("RootFS") or {}).get("Layers") or [image.get("Id")])
    return Base(
        name=name,
        files=hashlib.sha256(layers.encode()).hexdigest(),
        environment={key: value for key, _, value in pairs},
        user=str(config.get("User") or ""),
        shell=json.dumps(config.get("Shell") or []),
        folder=str(config.get("WorkingDir") or "/"),
        triggers=tuple(map(str, config.get("OnBuild") or ())),
    )


def _with_pulled(engine: engines.Engine, inputs: Inputs, trace: BuildTrace) -> Inputs:
    """The inputs with the base images that came with the build.

    BuildKit may keep a pulled image to itself; then the digest in its step's name says which it is.
    """
    pulled = {found["name"]: found["digest"] for v in trace.vertices if (found := _PULLED.search(v.name))}
    bases = dict(inputs.bases)
    for name in base_names(inputs.dockerfile, inputs.target):
        tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
        if name not in bases:
            bases[name] = _base(engine, name) or Base(name, pulled.get(tagged, ""))
    return replace(inputs, bases=bases)
