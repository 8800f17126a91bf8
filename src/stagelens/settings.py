"""Settings: environment variables that begin with STAGELENS_, read when they are asked for."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a user may set.

    home: one folder for state and cache instead of the operating system's usual places.
    registry_mirror: host of a registry mirror, put before the names of base images that are pulled.
    extra_ca: a certificate file or folder of them, added to the replicas of the base images.
    """

    model_config = SettingsConfigDict(env_prefix="STAGELENS_", env_ignore_empty=True)

    home: Path | None = None
    registry_mirror: str | None = None
    extra_ca: Path | None = None
