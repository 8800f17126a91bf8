"""Settings: environment variables that begin with STAGELENS_, else `config.toml` in the user's config folder.

The file has the same names in lower case without the prefix, `registry_mirror = "mirror.example"` say.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import platformdirs

from stagelens.errors import StagelensError

Language = Literal["en", "ko"]


class SettingsInvalid(StagelensError):
    """A setting has a value, or a name, that nothing can be made of."""


class Settings:
    """What a user may set; read anew each time it is made.

    home: one folder for state and cache instead of the operating system's usual places.
    registry_mirror: host of a registry mirror, put before the names of base images that are pulled.
    extra_ca: a certificate file or folder of them, added to the replicas of the base images.
    language: what the views speak, "en" or "ko".

    Raises
    ------
    SettingsInvalid: the file is no TOML, or a name in it, or a value in it or in a variable, is wrong.
    """

    home: Path | None = None
    registry_mirror: str | None = None
    extra_ca: Path | None = None
    language: Language = "en"

    def __init__(self) -> None:
        wrong: list[str] = []
        # Variables win over the file.
        for name, given in (_from_file() | _from_variables()).items():
            try:
                setattr(self, name, _READERS.get(name, _unknown)(given))
            except ValueError as error:
                wrong.append(f"{name}: {error}")
        if wrong:
            raise _invalid("; ".join(wrong))


def config_file() -> Path:
    """Where the file with settings may be, such as ~/.config/stagelens/config.toml."""
    return platformdirs.user_config_path("stagelens") / "config.toml"


def _from_file() -> dict[str, object]:
    try:
        return tomllib.loads(config_file().read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, OSError) as error:
        raise _invalid(str(error)) from error


def _from_variables() -> dict[str, object]:
    variables = {name: os.environ.get(f"STAGELENS_{name.upper()}") for name in _READERS}
    return {name: value for name, value in variables.items() if value}


def _invalid(reasons: str) -> SettingsInvalid:
    return SettingsInvalid(
        "The settings cannot be read.",
        where=str(config_file()),
        why=reasons,
        remedy="correct the file, or the STAGELENS_ variable of that name",
    )


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError("it must be a text in quotes")
    return given


def _path(given: object) -> Path:
    return Path(_text(given)).expanduser()


def _folder(given: object) -> Path:
    """One that is the same from wherever a program is started: an engine there serves them all."""
    path = _path(given)
    if not path.is_absolute():
        raise ValueError(f"it must be a whole path, such as {path.absolute()}")
    return path


def _language(given: object) -> Language:
    language = _text(given)
    if language not in ("en", "ko"):
        raise ValueError("it must be en or ko")
    return language


def _unknown(given: object) -> None:
    raise ValueError("there is no such setting")


_READERS: dict[str, Callable[[object], Any]] = {
    "home": _folder,
    "registry_mirror": _text,
    "extra_ca": _path,
    "language": _language,
}
