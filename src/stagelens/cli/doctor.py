"""`stagelens doctor`: what lessons need, what is there, and the remedy for what is not."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from stagelens import engine as engines
from stagelens import images
from stagelens.buildkit import BuildKitError, Session
from stagelens.cli import engine as engine_commands
from stagelens.cli import requirements
from stagelens.cli.console import out, working
from stagelens.settings import Settings
from stagelens.views.markup import size

State = Literal["ok", "note", "problem"]
_PORTS = (800, 801, 802)
_FREE_BYTES = 3 * 1000**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: a `problem` keeps lessons from running, a `note` does not."""

    name: str
    state: State
    text: str
    remedy: str | None = None


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(doctor)


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended safely.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that lessons can run here; exit 0 only if they can."""
    if fix:
        engine = engine_commands.find()
        requirements.provide_replica_tools(engine, images.NAMES)
        with working("base images") as report:
            images.ensure(engine, report=report)
        engine.api.close()
    findings = list(examine())
    well = all(finding.state != "problem" for finding in findings)
    if as_json:
        out.print_json(json.dumps({"ok": well, "findings": [asdict(f) for f in findings]}))
    else:
        for finding in findings:
            _print(finding)
    raise typer.Exit(0 if well else 1)


def examine() -> Iterator[Finding]:
    """All findings, the engine first; nothing is changed."""
    try:
        engine = engines.connect(start=False)
    except engines.EngineNotFound as error:
        tried = "".join(f"\n           {s.address} ({s.origin}): {s.reason}" for s in error.tried)
        yield Finding("engine", "problem", f"{error.what}{tried}", error.remedy)
    else:
        yield from _engine(engine)
        yield from _images(engine)
        engine.api.close()
    yield from _surroundings()


def _engine(engine: engines.Engine) -> Iterator[Finding]:
    info = engine.info
    kind = "Podman" if info.podman else "Docker"
    yield Finding("engine", "ok", f"{kind} {info.version}, API {info.api_version}, by {engine.origin}")
    for place in engine.skipped:
        if place.chosen:
            text = f"{place.origin} ({place.address}) was passed over: {place.reason}"
            yield Finding("engine", "note", text, place.remedy or "start that engine, or choose another")
    yield _backend(engine)
    yield _storage(info)
    if Path(info.root_dir).is_dir():
        free = shutil.disk_usage(info.root_dir).free
        low = free < _FREE_BYTES
        remedy = "free some: docker builder prune" if low else None
        yield Finding("disk", "note" if low else "ok", f"{size(free)} free for the engine", remedy)
    else:
        yield Finding("disk", "note", "the engine's disk is on another machine and was not looked at")


def _storage(info: engines.EngineInfo) -> Finding:
    store = "containerd image store" if info.containerd_store else "classic image store"
    text = f"{info.storage_driver}, {store}"
    if info.storage_driver == "vfs":
        # vfs copies every file of the parent for each layer.
        remedy = "install fuse-overlayfs, or set STAGELENS_HOME to a folder on ext4 or xfs"
        return Finding("storage", "note", f"{text}: slow, and takes much space", remedy)
    return Finding("storage", "ok", text)


def _backend(engine: engines.Engine) -> Finding:
    if not engine.info.buildkit:
        remedy = "use Docker Engine 18.09 or newer for lessons that look into stages"
        return Finding("builds", "problem", "classic builder: this engine has no BuildKit", remedy)
    try:
        Session(engine.api).close()
    except BuildKitError as error:
        return Finding("builds", "note", f"BuildKit, contexts uploaded: no session ({error.what})")
    return Finding("builds", "ok", "BuildKit, through a session")


def _images(engine: engines.Engine) -> Iterator[Finding]:
    for image in images.describe(engine):
        if image.origin == "missing":
            needed = any(image.name in names for names in images.LESSON_IMAGES.values())
            state: State = "problem" if needed else "note"
            yield Finding(image.name, state, "not there", f"stagelens images {image.name}")
        else:
            yield Finding(image.name, "ok", f"{image.origin}, {size(image.size)}")


def _surroundings() -> Iterator[Finding]:
    proxies = sorted(n for n in os.environ if n.lower() in ("http_proxy", "https_proxy", "no_proxy"))
    yield Finding("proxies", "ok", ", ".join(proxies) or "none set")
    extra = Settings().extra_ca
    if extra is not None and not extra.exists():
        yield Finding("extra CA", "problem", f"{extra} is not there", "correct STAGELENS_EXTRA_CA")
    else:
        yield Finding("extra CA", "ok", str(extra) if extra else "none set")
    for port in _PORTS:
        yield _port(port)


def _port(port: int) -> Finding:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except PermissionError:
            return Finding(f"port {port}", "note", "needs privileges; the engine usually has them")
        except OSError:
            return Finding(f"port {port}", "note", "in use", "stop what uses it, or choose another port")
    return Finding(f"port {port}", "ok", "free")


def _print(finding: Finding) -> None:
    colour = {"ok": "green", "note": "yellow", "problem": "red"}[finding.state]
    out.print(f"[{colour}]{finding.state:>7}[/{colour}]  {finding.name}: ", end="")
    out.print(finding.text, markup=False, soft_wrap=True)
    if finding.remedy:
        out.print(f"         next: {finding.remedy}", markup=False, soft_wrap=True)
