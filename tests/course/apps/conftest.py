"""Light services in place of the three applications: the same names, but a busybox httpd each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stagelens_testing.resources import PATIENCE

from stagelens.engine import Engine, remove_container, remove_network
from stagelens_course import apps
from stagelens_course.images import ensure

# SIGKILL at once: busybox as process 1 ignores SIGTERM.
DOCKERFILE = """\
FROM diamol/base
COPY www/ /www/
RUN chmod +x /www/cgi-bin/*
STOPSIGNAL SIGKILL
CMD ["sh", "-c", "echo '{\\"message\\": \\"up\\"}'; exec busybox httpd -f -vv -p 80 -h /www"]
"""
FILES = {
    "health": "well\n",
    "cgi-bin/town": '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n%s" "$TOWN"\n',
    # Answers with the body of the POST.
    "cgi-bin/echo": '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n%s " "$CONTENT_TYPE"\ncat\n',
    # Answers with the other two's answers, reached by the applications' names.
    "cgi-bin/others": '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\n'
    "for name in iotd accesslog; do wget -q -O - http://$name/cgi-bin/town; echo; done\n",
}


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("light")
    (folder / "www/cgi-bin").mkdir(parents=True)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    for name, text in FILES.items():
        (folder / "www" / name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def light(engine: Engine, context: Path) -> tuple[apps.ApplicationSpec, ...]:
    """Return three services with one image, which each `up` builds once."""
    ensure(engine, ["diamol/base"])
    return tuple(
        replace(spec, image="sltest-town", context=None if number else context, memory=None)
        for number, spec in enumerate(apps.APPLICATIONS)
    )


@pytest.fixture(autouse=True)
def patient(set_timeouts: Callable[..., None]) -> None:
    """Allow late answers: a loaded machine's services are still healthy."""
    set_timeouts(application_health=PATIENCE)


class Town:
    """The applications in a test's namespace; `up` has the parameters of `apps.up`."""

    def __init__(self, engine: Engine, namespace: str, light: tuple[apps.ApplicationSpec, ...]) -> None:
        self.engine, self.namespace, self.services = engine, namespace, light
        self.network = f"nat-{namespace}"

    def up(self, **options: object) -> apps.App:
        chosen = {"services": self.services, "namespace": self.namespace} | options
        return apps.up(self.engine, **chosen)  # type: ignore[arg-type]

    def down(self) -> apps.Removed:
        return apps.down(self.engine, self.namespace)

    def resources(self) -> list[str]:
        """Return the containers and networks that exist now."""
        api = self.engine.api
        containers = [row["Names"][0].lstrip("/") for row in api.containers(all=True)]
        networks = [row["Name"] for row in api.networks()]
        return sorted(name for name in containers + networks if name.endswith(self.namespace))


@pytest.fixture
def town(engine: Engine, unique: str, light: tuple[apps.ApplicationSpec, ...]) -> Iterator[Town]:
    made = Town(engine, unique, light)
    try:
        yield made
    finally:
        api = engine.api
        for row in api.containers(all=True):
            if row["Names"][0].endswith(unique):
                remove_container(api, row["Id"])
        for row in api.networks():
            if row["Name"].endswith(unique):
                remove_network(api, row["Id"])
        for row in api.images():
            for tag in row.get("RepoTags") or ():
                if tag.endswith(unique):
                    api.remove_image(tag)
