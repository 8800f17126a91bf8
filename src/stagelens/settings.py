"""Settings from environment variables that begin with STAGELENS_, and from the user's `config.toml`.

The names in the file are in lower case without the prefix, such as `registry_mirror = "mirror.example"`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import platformdirs

from stagelens.errors import StagelensError

Language = Literal["en", "ko"]


class SettingsInvalid(StagelensError):
    """A setting has an unknown name or an invalid value."""


class Settings:
    """The user's settings, read each time an instance is created.

    Attributes
    ----------
    home
        One folder for state and cache, instead of the operating system's default folders.
    registry_mirror
        The host of a registry mirror, put before the names of base images that are pulled.
    extra_ca
        A certificate file, or a folder of them, added to the replicas of the base images.
    language
        The language of the views, "en" or "ko".

    Raises
    ------
    SettingsInvalid
        If the file is not valid TOML, or a name or value is invalid.
    """

    home: Path | None = None
    registry_mirror: str | None = None
    extra_ca: Path | None = None
    language: Language = "en"

    def __init__(self) -> None:
        invalid: list[str] = []
        # Variables override the file.
        for name, value in (_from_file() | _from_variables()).items():
            try:
                setattr(self, name, _READERS.get(name, _unknown)(value))
            except ValueError as error:
                invalid.append(f"{name}: {error}")
        if invalid:
            raise _error("; ".join(invalid))


def config_file() -> Path:
    """Return the path of the settings file, such as ~/.config/stagelens/config.toml; it may be missing."""
    return platformdirs.user_config_path("stagelens") / "config.toml"


def _from_file() -> dict[str, object]:
    try:
        text = config_file().read_text("utf-8")
        import tomllib  # most users have no such file

        return tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, OSError) as error:
        raise _error(str(error)) from error


def _from_variables() -> dict[str, object]:
    variables = {name: os.environ.get(f"STAGELENS_{name.upper()}") for name in _READERS}
    return {name: value for name, value in variables.items() if value}


def _error(reasons: str) -> SettingsInvalid:
    return SettingsInvalid(
        "The settings cannot be read.",
        where=str(config_file()),
        why=reasons,
        remedy="correct the file, or the STAGELENS_ variable of that name",
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it must be a string in quotes")
    return value


def _path(value: object) -> Path:
    return Path(_text(value)).expanduser()


def _folder(value: object) -> Path:
    """Accept absolute paths only: programs in all working directories share the engine in this folder."""
    path = _path(value)
    if not path.is_absolute():
        raise ValueError(f"it must be an absolute path, such as {path.absolute()}")
    return path


def _language(value: object) -> Language:
    language = _text(value)
    if language not in ("en", "ko"):
        raise ValueError("it must be en or ko")
    return language


def _unknown(value: object) -> None:
    raise ValueError("unknown setting")


_READERS: dict[str, Callable[[object], Any]] = {
    "home": _folder,
    "registry_mirror": _text,
    "extra_ca": _path,
    "language": _language,
}
