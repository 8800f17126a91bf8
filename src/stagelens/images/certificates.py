"""Extra certificate authorities: where TLS is signed anew on the way, the replicas must trust who signs.

A .crt in /usr/local/share/ca-certificates must hold one certificate (update-ca-certificates(8)), so bundles
are split.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from stagelens.images.errors import ImagesError
from stagelens.settings import Settings

HOST_FOLDER = Path("/usr/local/share/ca-certificates")
_MOST_BYTES = 4 << 20
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def extra(host_folder: Path = HOST_FOLDER) -> dict[str, bytes]:
    """Extra CAs as file name -> one PEM certificate: the host's local ones and STAGELENS_EXTRA_CA's.

    Raises
    ------
    ImagesError: STAGELENS_EXTRA_CA names something without a certificate.
    """
    files = sorted(host_folder.rglob("*.crt")) if host_folder.is_dir() else []
    found = split(_read(path) for path in files)
    setting = Settings().extra_ca
    if setting is None:
        return found
    chosen = sorted(p for p in setting.iterdir() if p.is_file()) if setting.is_dir() else [setting]
    try:
        given = split(_read(path) for path in chosen)
    except OSError as error:
        raise _unusable(setting, str(error)) from error
    if not given:
        raise _unusable(setting, "it holds no certificate in PEM form")
    return found | given


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
