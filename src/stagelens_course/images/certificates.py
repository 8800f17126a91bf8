"""Extra certificate authorities: where TLS is signed anew on the way, the replicas must trust who signs.

A .crt in /usr/local/share/ca-certificates must hold one certificate (update-ca-certificates(8)), so bundles
are split.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagelens.settings import Settings
from stagelens_course.images.errors import ImagesError

HOST_FOLDER = Path("/usr/local/share/ca-certificates")
_MOST_BYTES = 4 << 20
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Certificate:
    """One extra CA, or a file that should hold one; `expires` is in Unix seconds, None where nobody knows.

    `problem` says why whoever trusts it gains nothing.
    """

    path: Path
    subject: str
    expires: float | None
    problem: str | None = None


def extra(host_folder: Path = HOST_FOLDER) -> dict[str, bytes]:
    """Extra CAs as file name -> one PEM certificate: the host's local ones and STAGELENS_EXTRA_CA's.

    Raises
    ------
    ImagesError: STAGELENS_EXTRA_CA names something without a certificate.
    """
    found: dict[str, bytes] = {}
    for path in _host_files(host_folder):
        # Somebody else's folder: a file that may not be read is told of by describe().
        with suppress(OSError):
            found |= split([_read(path)])
    setting = Settings().extra_ca
    if setting is None:
        return found
    try:
        given = split(_read(path) for path in _chosen_files(setting))
    except OSError as error:
        raise _unusable(setting, str(error)) from error
    if not given:
        raise _unusable(setting, "it holds no certificate in PEM form")
    return found | given


def describe(host_folder: Path = HOST_FOLDER) -> tuple[Certificate, ...]:
    """Every certificate that `extra` finds, and every file that it gets none from, in the same order."""
    setting = Settings().extra_ca
    files = _host_files(host_folder)
    if setting is not None:
        try:
            files += _chosen_files(setting)
        except OSError:
            files.append(setting)
    return tuple(certificate for path in files for certificate in _describe(path))


def _host_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.crt")) if folder.is_dir() else []


def _chosen_files(setting: Path) -> list[Path]:
    return sorted(p for p in setting.iterdir() if p.is_file()) if setting.is_dir() else [setting]


def _describe(path: Path) -> Iterator[Certificate]:
    try:
        texts = split([_read(path)]).values()
    except OSError as error:
        yield Certificate(path, "", None, f"cannot be read: {error.strerror or error}")
        return
    if not texts:
        yield Certificate(path, "", None, "holds no certificate in PEM form")
    for text in texts:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=text.decode())
        except (ssl.SSLError, ValueError):
            yield Certificate(path, "", None, "holds a damaged certificate")
            continue
        # OpenSSL lists those alone that may sign others.
        if rows := context.get_ca_certs():
            yield _certificate(path, rows[0])
        else:
            yield Certificate(path, "", None, "holds a certificate that may not sign others")


def _certificate(path: Path, row: Mapping[str, Any]) -> Certificate:
    names = {key: value for part in row.get("subject", ()) for key, value in part}
    subject = str(names.get("commonName") or names.get("organizationName") or "without a name")
    expires = ssl.cert_time_to_seconds(row["notAfter"])
    problem = None
    if expires < time.time():
        problem = f"expired on {row['notAfter']}"
    elif ssl.cert_time_to_seconds(row["notBefore"]) > time.time():
        problem = f"holds only from {row['notBefore']} on; is this machine's clock right?"
    return Certificate(path, subject, expires, problem)


def split(bundles: Iterable[bytes]) -> dict[str, bytes]:
    """Every certificate of the bundles once, under a name made from its digest."""
    certificates: dict[str, bytes] = {}
    for bundle in bundles:
        for match in _PEM.finditer(bundle):
            text = b"\n".join(match.group().split(b"\r\n")) + b"\n"
            certificates[f"stagelens-{hashlib.sha256(text).hexdigest()[:16]}.crt"] = text
    return certificates


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)


def _unusable(setting: Path, why: str) -> ImagesError:
    return ImagesError(
        "The extra certificate cannot be used.",
        where=f"STAGELENS_EXTRA_CA={setting}",
        why=why,
        remedy="point STAGELENS_EXTRA_CA at a PEM file, or at a folder of PEM files",
    )
