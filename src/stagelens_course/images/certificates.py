"""Extra certificate authorities: where a proxy signs TLS again, the replicas must trust the proxy's CA.

A .crt file in /usr/local/share/ca-certificates must hold one certificate (update-ca-certificates(8)), so
bundles are split.
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
from stagelens_course.images.model import ImagesError

HOST_FOLDER = Path("/usr/local/share/ca-certificates")
_MAX_BYTES = 4 << 20
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Certificate:
    """An extra CA, or a file that should hold one.

    Attributes
    ----------
    path
        The file.
    subject
        The CA's name; "" where the file holds no readable certificate.
    expires
        Unix seconds; None where it is unknown.
    problem
        Why the certificate is useless; None where it is valid.
    """

    path: Path
    subject: str
    expires: float | None
    problem: str | None = None


def extra_certificates(host_folder: Path = HOST_FOLDER) -> dict[str, bytes]:
    """Return the extra CAs by file name, one PEM certificate each.

    They are the host's local CAs and those that STAGELENS_EXTRA_CA names.

    Raises
    ------
    ImagesError
        If STAGELENS_EXTRA_CA names something without a certificate.
    """
    found: dict[str, bytes] = {}
    for path in _host_files(host_folder):
        # inspect_certificates() reports a file that cannot be read.
        with suppress(OSError):
            found |= split_bundles([_read(path)])
    setting = Settings().extra_ca
    if setting is None:
        return found
    try:
        given = split_bundles(_read(path) for path in _configured_files(setting))
    except OSError as error:
        raise _unusable(setting, str(error)) from error
    if not given:
        raise _unusable(setting, "it holds no certificate in PEM form")
    return found | given


def inspect_certificates(host_folder: Path = HOST_FOLDER) -> tuple[Certificate, ...]:
    """Return every extra certificate and every file that holds none, in the order of `extra_certificates`."""
    setting = Settings().extra_ca
    files = _host_files(host_folder)
    if setting is not None:
        try:
            files += _configured_files(setting)
        except OSError:
            files.append(setting)
    return tuple(certificate for path in files for certificate in _inspect(path))


def _host_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.crt")) if folder.is_dir() else []


def _configured_files(setting: Path) -> list[Path]:
    return sorted(p for p in setting.iterdir() if p.is_file()) if setting.is_dir() else [setting]


def _inspect(path: Path) -> Iterator[Certificate]:
    try:
        texts = split_bundles([_read(path)]).values()
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
        # OpenSSL lists only certificates that may sign others.
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
        problem = f"is not valid before {row['notBefore']}; is this machine's clock right?"
    return Certificate(path, subject, expires, problem)


def split_bundles(bundles: Iterable[bytes]) -> dict[str, bytes]:
    """Return each certificate of the bundles once, under a file name made from its digest."""
    certificates: dict[str, bytes] = {}
    for bundle in bundles:
        for match in _PEM.finditer(bundle):
            text = b"\n".join(match.group().split(b"\r\n")) + b"\n"
            certificates[f"stagelens-{hashlib.sha256(text).hexdigest()[:16]}.crt"] = text
    return certificates


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES)


def _unusable(setting: Path, why: str) -> ImagesError:
    return ImagesError(
        "The extra certificate cannot be used.",
        where=f"STAGELENS_EXTRA_CA={setting}",
        why=why,
        remedy="point STAGELENS_EXTRA_CA at a PEM file, or at a folder of PEM files",
    )
