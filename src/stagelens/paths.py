"""Where stagelens keeps its things, by the rules of the operating system; STAGELENS_HOME moves them all."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from stagelens.settings import Settings


def state_dir() -> Path:
    """Things that must last: a private engine's data, its log and pid file."""
    return _place(platformdirs.user_state_path("stagelens"), "state")


def cache_dir() -> Path:
    """Things that can be made again: indexed layers, downloaded packages."""
    return _place(platformdirs.user_cache_path("stagelens"), "cache")


def _place(usual: Path, name: str) -> Path:
    home = Settings().home
    place = home / name if home else usual
    place.mkdir(parents=True, exist_ok=True)
    return place
