"""Fixtures that every room's tests share."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress

import pytest
from docker.errors import APIError, NotFound

from stagelens.engine import Engine, connect

TEST_LABEL = "stagelens.test"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A real engine that is already running (`./stagelens test` provides one)."""
    found = connect(start=False)
    yield found
    found.api.close()


@pytest.fixture
def unique() -> str:
    """A prefix for names that no other test uses."""
    return f"sltest-{secrets.token_hex(4)}"


class Cleaner:
    """Removes what a test made: by label, by name prefix.

    `labels` goes into `labels=` of whatever the test creates; names that begin with the test's `unique`
    are found too, and `also(prefix)` adds a further prefix.
    """

    def __init__(self, engine: Engine, prefix: str) -> None:
        self._api = engine.api
        self._prefixes = [prefix]
        self.labels = {TEST_LABEL: prefix}

    def also(self, prefix: str) -> None:
        self._prefixes.append(prefix)

    def _ours(self, names: list[str], labels: dict[str, str] | None) -> bool:
        if (labels or {}).get(TEST_LABEL) == self.labels[TEST_LABEL]:
            return True
        return any(name.lstrip("/").startswith(p) for name in names for p in self._prefixes)

    def now(self) -> None:
        """Containers first, since they hold the rest."""
        api = self._api
        for row in api.containers(all=True):
            if self._ours([*(row.get("Names") or []), row.get("Image", "")], row.get("Labels")):
                with suppress(NotFound):
                    api.remove_container(row["Id"], force=True, v=True)
        for row in api.images():
            tags = row.get("RepoTags") or []
            if not self._ours(tags, row.get("Labels")):
                continue
            ours = [tag for tag in tags if self._ours([tag], None)]
            # An image that also has somebody else's tag only loses ours.
            for reference in ours or ([row["Id"]] if not tags or tags == ["<none>:<none>"] else tags):
                with suppress(NotFound, APIError):
                    api.remove_image(reference, force=True)
        for row in api.networks():
            if self._ours([row.get("Name", "")], row.get("Labels")):
                with suppress(NotFound):
                    api.remove_network(row["Id"])
        for row in api.volumes().get("Volumes") or []:
            if self._ours([row["Name"]], row.get("Labels")):
                with suppress(NotFound):
                    api.remove_volume(row["Name"], force=True)


@pytest.fixture
def clean(engine: Engine, unique: str) -> Iterator[Cleaner]:
    """Removes at the end every container, image, network and volume of this test."""
    cleaner = Cleaner(engine, unique)
    yield cleaner
    cleaner.now()
