"""The Dockerfiles and notes agree with the chapter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stagelens.dockerfile import load

EXERCISES = Path(__file__).parents[3] / "ch04" / "exercises"

STEPS = {
    "image-of-the-day": [
        "FROM diamol/maven AS builder",
        "WORKDIR /usr/src/iotd",
        "COPY pom.xml .",
        "RUN mvn -B dependency:go-offline",
        "COPY . .",
        "RUN mvn package",
        "FROM diamol/openjdk",
        "WORKDIR /app",
        "COPY --from=builder /usr/src/iotd/target/iotd-service-0.1.0.jar .",
        "EXPOSE 80",
        'ENTRYPOINT ["java", "-jar", "/app/iotd-service-0.1.0.jar"]',
    ],
    "access-log": [
        "FROM diamol/node AS builder",
        "WORKDIR /src",
        "COPY src/package.json .",
        "RUN npm install",
        "FROM diamol/node",
        "EXPOSE 80",
        'CMD ["node", "server.js"]',
        "WORKDIR /app",
        "COPY --from=builder /src/node_modules/ /app/node_modules/",
        "COPY src/ .",
    ],
    "image-gallery": [
        "FROM diamol/golang AS builder",
        "COPY main.go .",
        "RUN go build -o /server",
        "FROM diamol/base",
        'ENV IMAGE_API_URL="http://iotd/image" ACCESS_API_URL="http://accesslog/access-log"',
        'CMD ["/web/server"]',
        "WORKDIR /web",
        "COPY index.html .",
        "COPY --from=builder /server .",
        "RUN chmod +x server",
    ],
}

COMMANDS = {
    "image-of-the-day": [
        "docker image build -t image-of-the-day .",
        "docker network create nat",
        "docker run --name iotd -d -p 800:80 --network nat image-of-the-day",
    ],
    "access-log": [
        "docker image build -t access-log .",
        "docker network create nat",
        "docker run --name accesslog -d -p 801:80 --network nat access-log",
    ],
    "image-gallery": [
        "docker image build -t image-gallery .",
        "docker network create nat",
        "docker run -d -p 802:80 --network nat image-gallery",
    ],
}


def steps(dockerfile: Path) -> list[str]:
    """Return one instruction a line, without comments, blank lines and continuations."""
    text = dockerfile.read_text().replace("\\\n", " ")
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("app", STEPS)
def test_dockerfile_has_the_chapters_instructions(app: str) -> None:
    dockerfile = EXERCISES / app / "Dockerfile"
    assert steps(dockerfile) == STEPS[app]
    assert [stage.name for stage in load(dockerfile).stages] == ["builder", None]


@pytest.mark.parametrize("app", COMMANDS)
def test_notes_list_the_chapters_commands(app: str) -> None:
    lines = [line.strip() for line in (EXERCISES / app / "README.md").read_text().splitlines()]
    for command in COMMANDS[app]:
        assert command in lines


def test_pictures_equal_the_output_of_the_drawing_code() -> None:
    project = EXERCISES / "image-of-the-day"
    fresh = "import paint, sys\nfor name, draw in paint.PICTURES.items():\n    sys.stdout.write(draw())"
    done = subprocess.run(
        [sys.executable, "-B", "-c", fresh], cwd=project / "art", capture_output=True, text=True, check=True
    )
    pictures = sorted((project / "src/main/resources/static/pictures").glob("*.svg"))
    assert len(pictures) == 7
    assert sum(len(file.read_text()) for file in pictures) == len(done.stdout)
    for file in pictures:
        text = file.read_text()
        assert text in done.stdout, file.name
        assert "<script" not in text
        assert "href" not in text
        assert len(text) < 25_000
