"""Here `engine`, and so `clean`, is each of three engines in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stagelens_testing import engines

from stagelens.engine import Engine


@pytest.fixture(scope="session", params=engines.KINDS)
def engine(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Engine]:
    """The running engine, then Engine 26 with the classic store, then with containerd's."""
    with engines.start(request.param, engine) as found:
        yield found
