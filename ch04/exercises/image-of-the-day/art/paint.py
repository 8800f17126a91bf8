"""Paint the catalogue's pictures: ``python3 art/paint.py`` writes seven SVG files of a few kB each.

Each picture is drawn from a seed of its own, so the same files come out on every machine. Nothing but the
Python standard library is needed, and the Docker build never runs this: the pictures lie in the repository.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from land import aurora, balloons, mountains, night_sky
from sea import harbour, lighthouse, whale

TARGET = Path(__file__).parent.parent / "src/main/resources/static/pictures"

PICTURES: dict[str, Callable[[], str]] = {
    "harbour": harbour,
    "night-sky": night_sky,
    "mountains": mountains,
    "aurora": aurora,
    "whale": whale,
    "lighthouse": lighthouse,
    "balloons": balloons,
}


def main() -> None:
    """Write every picture and say its size."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, paint in PICTURES.items():
        file = TARGET / f"{name}.svg"
        file.write_text(paint(), encoding="utf-8")
        print(f"{file.name:16} {file.stat().st_size / 1000:5.1f} kB")


if __name__ == "__main__":
    main()
