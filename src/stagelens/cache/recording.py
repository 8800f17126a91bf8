"""Record a build with its inputs: the files of the context, the base images and the arguments."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from stagelens import engine as engines
from stagelens.builds import (
    BuildOptions,
    BuildTrace,
    ContextCopy,
    build,
    read_build_contexts,
    with_build_options,
)
from stagelens.cache.context_files import read_context_files, update_files
from stagelens.cache.model import BuildInputs, BuildRecord, ContextFile, InputImage
from stagelens.cache.steps import context_sources, image_names
from stagelens.dockerfile import find_dockerfile, load, normalize_platform
from stagelens.errors import StagelensError, short_traceback_on_interrupt

_PULLED = re.compile(r"FROM (?:docker\.io/(?:library/)?)?(?P<name>\S+?)@(?P<digest>sha256:[0-9a-f]{64})")


@short_traceback_on_interrupt()
@with_build_options
def record(
    context: str | Path, trace: BuildTrace | None = None, **options: Unpack[BuildOptions]
) -> BuildRecord:
    """Build as `stagelens.build` does, and record the inputs of the build.

    Parameters
    ----------
    context
        The folder of the build context.
    trace
        The trace of a build that was just made. Then nothing is built, and the trace has the options; the
        context must not have changed since.
    **options
        The options of `stagelens.build`.

    Returns
    -------
    BuildRecord
        The build and its inputs; `stagelens.explain` compares two of these.

    Raises
    ------
    BuildFailed
        If the build fails.
    StagelensError
        If the build cannot start, as in `stagelens.build`.
    """
    engine = options["engine"] = options.get("engine") or engines.connect()
    if trace is not None:
        asked = {name: getattr(trace.request, name) for name in _REQUEST_FIELDS}
        asked["build_contexts"] = {each.name: each.folder or each.address for each in trace.build_contexts}
        inputs = read_inputs(context, dockerfile=trace.dockerfile.path, engine=engine, **asked)
        return BuildRecord(_as_built(engine, context, inputs, trace), trace)
    # Before the build: an edit during the build belongs to the next one.
    inputs = read_inputs(
        context,
        dockerfile=options.get("dockerfile"),
        target=options.get("target"),
        build_args=options.get("build_args"),
        network=options.get("network"),
        platform=options.get("platform"),
        build_contexts=options.get("build_contexts"),
        no_cache=options.get("no_cache", False),
        engine=engine,
    )
    trace = build(context, **options)
    return BuildRecord(_as_built(engine, context, inputs, trace), trace)


_REQUEST_FIELDS = ("target", "build_args", "network", "platform", "no_cache")


def read_inputs(
    context: str | Path,
    *,
    dockerfile: str | Path | None = None,
    target: str | None = None,
    build_args: Mapping[str, str | None] | None = None,
    network: str | None = None,
    platform: str | None = None,
    build_contexts: Mapping[str, str | Path] | None = None,
    no_cache: bool = False,
    engine: engines.Engine | None = None,
) -> BuildInputs:
    """Read the inputs of the next build of a context; nothing is built.

    Parameters
    ----------
    context
        The folder of the build context.
    dockerfile
        The path of the Dockerfile; by default `Dockerfile` in the context.
    target
        The stage to build; None for the last one.
    build_args
        The build arguments; None as a value leaves an argument out.
    network
        The network mode of RUN.
    platform
        The platform to build for, by default the engine's; one, not a list.
    build_contexts
        Further build contexts by name; see `stagelens.build`.
    no_cache
        Whether to build without the cache.
    engine
        The engine that will build; by default the one that `stagelens.engine.connect` finds.

    Raises
    ------
    DockerfileError
        If the Dockerfile cannot be read.
    StagelensError
        If a build context cannot be read, or `platform` is a list.
    """
    folder = Path(context)
    if not folder.is_dir():
        raise StagelensError("The build context is not a folder.", where=str(context), remedy="give a folder")
    contexts = read_build_contexts(build_contexts)
    engine = engine or engines.connect()
    path = find_dockerfile(folder, dockerfile)
    values = {name: value for name, value in (build_args or {}).items() if value is not None}
    parsed = load(
        path,
        values,
        platform=platform,
        build_platform=engine.info.platform,
        target=target,
        build_contexts=[each.name for each in contexts],
    )
    addresses = {each.name: each.address for each in contexts}
    sources = context_sources(parsed, values, target, addresses)
    copy = ContextCopy(engine, folder)
    return BuildInputs(
        dockerfile=parsed,
        files=read_context_files(folder, path.absolute(), sources.get("", ()), copy),
        images=_inspect_images(engine, image_names(parsed, target, addresses)),
        build_args=values,
        target=target,
        network=network,
        platform=normalize_platform(platform or engine.info.platform),
        build_platform=normalize_platform(engine.info.platform),
        build_contexts=addresses,
        # The ignore file in such a folder counts, and none beside the Dockerfile.
        context_files={
            each.name: read_context_files(
                each.folder,
                each.folder.absolute() / "Dockerfile",
                sources.get(each.name, ()),
                copy,
                each.tree,
            )
            for each in contexts
            if each.folder is not None
        },
        no_cache=no_cache,
        engine=engine.info.id,
        merge_op=engine.info.containerd_store,
        cache_ids=_counts_cache_ids(engine.info.version),
    )


def _counts_cache_ids(version: str) -> bool:
    """Return whether a Docker Engine has a BuildKit before 0.13, which Engine 26 brought."""
    major = version.partition(".")[0]
    return major.isdecimal() and int(major) < 26


def _inspect_images(engine: engines.Engine, names: Iterable[str]) -> dict[str, InputImage]:
    return {name: image for name in names if (image := _inspect(engine, name))}


def _inspect(engine: engines.Engine, name: str) -> InputImage | None:
    """Return the image as the engine has it now, or None if the engine does not have it."""
    image = engine.inspect_image(name.removeprefix("docker-image://"))
    if image is None:
        return None
    config: dict[str, Any] = image.get("Config") or {}
    pairs = [str(line).partition("=") for line in config.get("Env") or ()]
    layers = json.dumps((image.get("RootFS") or {}).get("Layers") or [image.get("Id")])
    return InputImage(
        name=name,
        layers=hashlib.sha256(layers.encode()).hexdigest(),
        environment={key: value for key, _, value in pairs},
        user=str(config.get("User") or ""),
        shell=json.dumps(config.get("Shell") or []),
        workdir=str(config.get("WorkingDir") or "/"),
        triggers=tuple(map(str, config.get("OnBuild") or ())),
    )


def _as_built(
    engine: engines.Engine, context: str | Path, inputs: BuildInputs, trace: BuildTrace
) -> BuildInputs:
    """Return the inputs with what only the build could tell: the files and base images that it used."""
    images = _with_pulled_images(engine, inputs, trace)
    if trace.backend != "session":
        return replace(inputs, files=_without_copy(Path(context), inputs), images=images)
    copy, trees = ContextCopy(engine, Path(context)), {each.name: each.tree for each in trace.build_contexts}
    others = {name: update_files(files, copy, trees[name]) for name, files in inputs.context_files.items()}
    return replace(inputs, files=update_files(inputs.files, copy), context_files=others, images=images)


def _without_copy(context: Path, inputs: BuildInputs) -> Mapping[str, ContextFile]:
    """Return the main context's files for a build that sent all of them."""
    if not any(file.stale for file in inputs.files.values()):
        return inputs.files
    sources = context_sources(inputs.dockerfile, inputs.build_args, inputs.target, inputs.build_contexts)
    return read_context_files(context, inputs.dockerfile.path, sources.get("", ()))


def _with_pulled_images(
    engine: engines.Engine, inputs: BuildInputs, trace: BuildTrace
) -> dict[str, InputImage]:
    """Add the base images that the build pulled.

    BuildKit may not store a pulled image in the engine; then the name of its step has the digest.
    """
    pulled = {found["name"]: found["digest"] for v in trace.vertices if (found := _PULLED.search(v.name))}
    images = dict(inputs.images)
    for name in image_names(inputs.dockerfile, inputs.target, inputs.build_contexts):
        tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
        if name not in images:
            images[name] = _inspect(engine, name) or InputImage(name, pulled.get(tagged, ""))
    return images
