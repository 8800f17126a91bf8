"""Settings: environment variables that begin with STAGELENS_, else `config.toml` in the user's config folder.

The file has the same names in lower case without the prefix, `registry_mirror = "mirror.example"` say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from stagelens.errors import StagelensError


class SettingsInvalid(StagelensError):
    """A setting has a value, or a name, that nothing can be made of."""


class Settings(BaseSettings):
    """What a user may set; read anew each time it is made.

    home: one folder for state and cache instead of the operating system's usual places.
    registry_mirror: host of a registry mirror, put before the names of base images that are pulled.
    extra_ca: a certificate file or folder of them, added to the replicas of the base images.
    language: what the views speak, "en" or "ko".

    Raises
    ------
    SettingsInvalid: the file is no TOML, or a name or value in it or in a variable is wrong.
    """

    model_config = SettingsConfigDict(env_prefix="STAGELENS_", env_ignore_empty=True)

    home: Path | None = None
    registry_mirror: str | None = None
    extra_ca: Path | None = None
    language: Literal["en", "ko"] = "en"

    def __init__(self) -> None:
        try:
            super().__init__()
        except (ValidationError, ValueError, OSError) as error:
            raise SettingsInvalid(
                "The settings cannot be read.",
                where=str(config_file()),
                why=_reasons(error),
                remedy="correct the file, or the STAGELENS_ variable of that name",
            ) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over the file."""
        return env_settings, TomlConfigSettingsSource(settings_cls, config_file())


def config_file() -> Path:
    """Where the file with settings may be, such as ~/.config/stagelens/config.toml."""
    return platformdirs.user_config_path("stagelens") / "config.toml"


def _reasons(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        return "; ".join(found)
    return str(error)
