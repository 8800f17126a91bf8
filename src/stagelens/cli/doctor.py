"""The command `stagelens doctor`: check what builds need, with a remedy for each problem."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

import click

from stagelens import engine as engines
from stagelens.buildkit import BuildKitError, Session
from stagelens.cli import engine_commands, proxies
from stagelens.cli.console import print_json
from stagelens.cli.findings import Finding, State, print_finding
from stagelens.errors import StagelensError, as_typed
from stagelens.humanize import format_size
from stagelens.paths import cache_dir, state_dir
from stagelens.settings import Settings, SettingsInvalid

_LOW_BYTES = 3 * 1000**3
# With less than this, even a small build fails.
_FULL_BYTES = 200 * 1000**2


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Fix what can be fixed safely.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as docs/reference/doctor.md describes it.")
def doctor_command(fix: bool, as_json: bool) -> None:
    """Check that builds can run here; exit 0 only if they can.

    --fix starts a private engine where none answers; it removes and replaces nothing.
    """
    report([*(attempt_fix() if fix else ()), *examine()], as_json)


def report(findings: Sequence[Finding], as_json: bool) -> NoReturn:
    """Print findings and exit: with 0, or with 1 if one of them is a problem.

    Parameters
    ----------
    findings
        What was found, in the order to print it.
    as_json
        Whether to print JSON, as docs/reference/doctor.md describes it.
    """
    findings = [replace(finding, remedy=finding.remedy and as_typed(finding.remedy)) for finding in findings]
    ok = all(finding.state != "problem" for finding in findings)
    if as_json:
        print_json({"ok": ok, "findings": [asdict(f) for f in findings]})
    else:
        for finding in findings:
            print_finding(finding)
    raise click.exceptions.Exit(0 if ok else 1)


def attempt_fix(provide: Callable[[engines.Engine], None] | None = None) -> Iterator[Finding]:
    """Start an engine where none answers, and provide what runs on it.

    Parameters
    ----------
    provide
        Called with the engine to provide what else is needed, such as images.

    Yields
    ------
    Finding
        What could not be fixed.
    """
    try:
        engine = engine_commands.find_engine()
        try:
            if provide is not None:
                provide(engine)
        finally:
            engine.api.close()
    except engines.EngineNotFound:
        return
    except StagelensError as error:
        text = f"{error.what} {error.why or ''}".rstrip()
        yield Finding("fix", "note", text, error.remedy)


def _no_findings(_: engines.Engine | None) -> tuple[Finding, ...]:
    return ()


def examine(more: Callable[[engines.Engine | None], Iterable[Finding]] = _no_findings) -> Iterator[Finding]:
    """Examine settings, the engine and its proxies, without a change.

    Parameters
    ----------
    more
        Called with the engine, or None where none answers; its findings come last.

    Yields
    ------
    Finding
        What was found, the engine first.
    """
    try:
        Settings()
    except SettingsInvalid as error:
        yield Finding("settings", "problem", f"{error.what} {error.where}: {error.why}", error.remedy)
        return
    try:
        state_dir()
        cache_dir()
    except OSError as error:
        text = f"stagelens cannot write to its folder {error.filename}: {error.strerror}"
        remedy = "make the folder writable, or set STAGELENS_HOME to a writable folder"
        yield Finding("settings", "problem", text, remedy)
        return
    try:
        engine = engines.connect(start=False)
    except engines.EngineNotFound as error:
        yield _no_engine(error)
        yield from proxies.examine(None)
        yield from more(None)
        return
    try:
        yield from _engine(engine)
        yield from proxies.examine(engine)
        yield from more(engine)
    finally:
        engine.api.close()


def _no_engine(error: engines.EngineNotFound) -> Finding:
    tried = "".join(f"\n           {each.address} ({each.origin}): {each.reason}" for each in error.rejected)
    facts = {"tried": [asdict(candidate) for candidate in error.rejected]}
    return Finding("engine", "problem", f"{error.what}{tried}", error.remedy, facts)


def _engine(engine: engines.Engine) -> Iterator[Finding]:
    info = engine.info
    kind = "Podman" if info.podman else "Docker"
    facts = {"address": engine.address, "origin": engine.origin} | asdict(info)
    # Separate findings have these, without passwords.
    del facts["proxies"], facts["mirrors"]
    text = f"{kind} {info.version}, API {info.api_version}, by {engine.origin}"
    yield Finding("engine", "ok", text, facts=facts)
    for candidate in engine.rejected:
        if candidate.explicit:
            text = f"{candidate.origin} ({candidate.address}) was rejected: {candidate.reason}"
            remedy = candidate.remedy or "start that engine, or choose another"
            yield Finding("engine", "note", text, remedy, asdict(candidate))
    yield _backend(engine)
    yield _storage(info)
    yield _disk(info)


def _storage(info: engines.EngineInfo) -> Finding:
    store = "containerd image store" if info.containerd_store else "classic image store"
    text = f"{info.storage_driver}, {store}"
    facts = {"driver": info.storage_driver, "containerd": info.containerd_store}
    if info.storage_driver == "vfs":
        # vfs copies every file of the parent for each layer.
        remedy = "install fuse-overlayfs, or set STAGELENS_HOME to a folder on ext4 or xfs"
        return Finding("storage", "note", f"{text}: slow, and needs much disk space", remedy, facts)
    return Finding("storage", "ok", text, facts=facts)


def _disk(info: engines.EngineInfo) -> Finding:
    if not Path(info.root_dir).is_dir():
        return Finding("disk", "ok", "the engine's disk is on another machine and was not checked")
    free = shutil.disk_usage(info.root_dir).free
    facts = {"folder": info.root_dir, "free": free}
    text = f"{format_size(free)} free for the engine in {info.root_dir}"
    if free >= _LOW_BYTES:
        return Finding("disk", "ok", text, facts=facts)
    remedy = "free some space there: docker builder prune, then docker image prune"
    state: State = "problem" if free < _FULL_BYTES else "note"
    return Finding("disk", state, text, remedy, facts)


def _backend(engine: engines.Engine) -> Finding:
    if engine.info.os == "windows":
        remedy = "switch to Linux containers in Docker Desktop's menu"
        return Finding("builds", "problem", "this engine runs Windows containers", remedy)
    if engine.info.podman:
        text = "Podman's builder: builds work, but exploring stages needs BuildKit"
        remedy = "start Docker Engine 20.10 or newer; stagelens build also works with Podman"
        return Finding("builds", "problem", text, remedy, {"backend": "classic"})
    if not engine.info.buildkit:
        remedy = "use Docker Engine 20.10 or newer to explore stages"
        text, facts = "classic builder: this engine has no BuildKit", {"backend": "classic"}
        return Finding("builds", "problem", text, remedy, facts)
    try:
        Session(engine.api).close()
    except BuildKitError as error:
        remedy = "connect to the engine by its socket, or without a proxy in between"
        text = f"BuildKit, contexts uploaded: no session ({error.why or error.what})"
        if engine.info.containerd_store:
            # moby/moby#47717, fixed by moby/moby#49178
            text += "; uploads can fail with containerd's image store"
        return Finding("builds", "note", text, remedy, {"backend": "upload"})
    return Finding("builds", "ok", "BuildKit, through a session", facts={"backend": "session"})
