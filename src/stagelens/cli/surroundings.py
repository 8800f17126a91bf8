"""What surrounds an engine: proxies, extra certificate authorities, registry mirrors, the lessons' ports."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stagelens.cli.findings import Finding
from stagelens.engine import Engine, private_engine
from stagelens.settings import Settings
from stagelens_course import images
from stagelens_course.apps import names
from stagelens_course.images import certificates

PORTS = (800, 801, 802)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
_LOOPBACK = re.compile(r"^(?:\w+://)?(?:[^@/]*@)?(?:localhost|127\.[\d.]+|\[::1\])(?:[:/]|$)")


def look(engine: Engine | None, authorities: Path = certificates.HOST_FOLDER) -> Iterator[Finding]:
    """All findings about proxies, certificates, mirrors and ports; nothing is changed.

    `authorities` is the host's folder of local CAs.
    """
    yield from _proxies(engine)
    yield from _certificates(authorities)
    yield _mirror(engine)
    rows: list[dict[str, Any]] = engine.api.containers() if engine else []
    for port in PORTS:
        yield _port(port, rows)


def _proxies(engine: Engine | None) -> Iterator[Finding]:
    """The environment's, those of docker's configuration file for what runs in builds, the engine's own."""
    environment = {name: os.environ[name] for name in sorted(os.environ) if name.upper() in PROXIES}
    yield _proxy("proxies", environment)
    configured, problem = _docker_configuration(engine.address if engine else "")
    if problem:
        remedy = "correct the file; until then docker and stagelens build as if it were empty"
        yield Finding("proxies in docker's configuration", "note", problem, remedy)
    else:
        yield _proxy("proxies in docker's configuration", configured)
    for where, given in (("the environment", environment), ("docker's configuration", configured)):
        local = sorted(name for name, value in given.items() if _is_proxy(name) and _LOOPBACK.match(value))
        if local:
            text = (
                f"{', '.join(local)} of {where} is an address of this machine that build steps cannot reach"
            )
            remedy = "name the proxy by an address that containers reach, such as this machine's own"
            yield Finding("proxies for builds", "note", text, remedy)
    if engine:
        yield _engines_own(engine, environment | configured)


def _proxy(name: str, given: Mapping[str, str]) -> Finding:
    shown = {key: _without_password(value) for key, value in given.items()}
    text = ", ".join(f"{key}={value}" for key, value in shown.items()) or "none set"
    return Finding(name, "ok", text, facts=shown)


def _engines_own(engine: Engine, given: Mapping[str, str]) -> Finding:
    """The engine pulls images itself, so that it needs to know the proxy too."""
    own = dict(engine.info.proxies)
    found = _proxy("the engine's proxies", own)
    if any(_is_proxy(key) for key in own) or not any(_is_proxy(key) for key in given):
        return found
    remedy = (
        "./stagelens engine stop, then start it again with these variables"
        if engine.address == private_engine().address
        else "set the proxy in the engine's own settings, too (docs.docker.com/engine/daemon/proxy)"
    )
    return Finding(found.name, "note", "none set: the engine pulls images without a proxy", remedy)


def _is_proxy(name: str) -> bool:
    return name.upper() != "NO_PROXY"


def _without_password(value: str) -> str:
    return re.sub(r"^(\w+://)?[^@/]*@", r"\1***@", value)


def _docker_configuration(address: str) -> tuple[dict[str, str], str | None]:
    """What ~/.docker/config.json has under `proxies` for this engine, as variables; or what is wrong with it.

    Format: https://docs.docker.com/engine/cli/proxy/
    """
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        proxies = json.loads(path.read_bytes()).get("proxies") or {}
        chosen: Mapping[str, object] = proxies.get(address) or proxies.get("default") or {}
        pairs = {re.sub(r"Proxy$", "_PROXY", key).upper(): str(value) for key, value in chosen.items()}
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError, AttributeError) as error:
        return {}, f"{path} cannot be read: {error}"
    return {name: value for name, value in pairs.items() if name in PROXIES}, None


def _certificates(folder: Path) -> Iterator[Finding]:
    """Extra CAs: those of the host's local folder, and of the setting."""
    try:
        certificates.extra(folder)
    except images.ImagesError as error:
        yield Finding("extra CA", "problem", f"{error.what} {error.where}: {error.why}", error.remedy)
    setting = Settings().extra_ca
    found = certificates.describe(folder)
    for each in found:
        if each.problem:
            ours = setting is not None and each.path.is_relative_to(setting)
            remedy = "replace or remove the file" + ("" if ours else ", then run: update-ca-certificates")
            label = f"{each.subject}: " if each.subject else ""
            yield Finding("extra CA", "note", f"{label}{each.path} {each.problem}", remedy, _facts(each))
    good = [each for each in found if each.problem is None]
    lines = [f"{each.subject} ({each.path}), until {_day(each.expires)}" for each in good]
    facts = {"setting": str(setting) if setting else None, "certificates": [_facts(c) for c in found]}
    yield Finding("extra CA", "ok", "; ".join(lines) or "none", facts=facts)


def _facts(certificate: certificates.Certificate) -> dict[str, object]:
    return {
        "path": str(certificate.path),
        "subject": certificate.subject,
        "expires": _day(certificate.expires),
        "problem": certificate.problem,
    }


def _day(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _mirror(engine: Engine | None) -> Finding:
    setting = Settings().registry_mirror
    own = list(engine.info.mirrors) if engine else []
    parts = [f"STAGELENS_REGISTRY_MIRROR={setting}"] if setting else []
    parts += [f"the engine's own: {', '.join(own)}"] if own else []
    text = "; ".join(parts) or "none set"
    return Finding("registry mirror", "ok", text, facts={"setting": setting, "engine": own})


def _port(port: int, rows: list[dict[str, Any]]) -> Finding:
    """Whether the port is free, or who has it; `up` takes the next free one, so that none is a problem."""
    name = f"port {port}"
    for row in rows:
        if any(each.get("PublicPort") == port for each in row.get("Ports") or ()):
            holder = str(row["Names"][0]).lstrip("/")
            if names.LABEL in (row.get("Labels") or {}):
                return Finding(name, "ok", f"used by our own {holder}", facts={"container": holder})
            remedy = f"docker stop {holder}, or let stagelens up take the next free port"
            text = f"in use by the container {holder}"
            return Finding(name, "note", text, remedy, {"container": holder})
    with socket.socket() as trial:
        # A connection that has just ended is no hindrance.
        if os.name == "posix":
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except PermissionError:
            return Finding(name, "ok", "needs privileges here; the engine usually has them")
        except OSError:
            remedy = "stop what uses it, or let stagelens up take the next free port"
            return Finding(name, "note", "in use by another program", remedy)
    return Finding(name, "ok", "free")
