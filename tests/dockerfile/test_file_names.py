"""Which Dockerfile and ignore file a build reads, and which ones only look like them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagelens.dockerfile import DockerfileError, find_dockerfile, load, similar_names, unread_ignore_files


def create(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("FROM scratch\n")
    return folder


@pytest.mark.parametrize(
    ("names", "given", "found"),
    [
        (["Dockerfile"], None, "Dockerfile"),
        (["dockerfile"], None, "dockerfile"),
        (["Dockerfile", "dockerfile"], None, "Dockerfile"),
        (["DOCKERFILE"], None, "Dockerfile"),
        (["sub/dockerfile"], "sub/Dockerfile", "sub/dockerfile"),
        (["dockerfile"], "Other", "Other"),
        ([], None, "Dockerfile"),
    ],
)
def test_lower_case_name_stands_in_for_the_default_one(
    tmp_path: Path, names: list[str], given: str | None, found: str
) -> None:
    create(tmp_path, *names)
    assert find_dockerfile(tmp_path, tmp_path / given if given else None) == tmp_path / found


@pytest.mark.parametrize(
    ("wanted", "names", "similar"),
    [
        ("Dockerfile", ["Dockerfile.txt", "main.c"], ("Dockerfile.txt",)),
        ("Dockerfile", ["DOCKERFILE"], ("DOCKERFILE",)),
        ("Dockerfile", ["app.Dockerfile", "Dockerfile.dev"], ("app.Dockerfile", "Dockerfile.dev")),
        ("Dockerfile", ["Dockerfile.dockerignore", ".dockerignore", "compose.yaml"], ()),
        ("Dockerfile", ["Containerfile"], ("Containerfile",)),
        ("Dockerfile", ["Dokerfile", "Dockerfiles"], ("Dockerfiles", "Dokerfile")),
        ("Dockerfile.prod", ["Dockerfile.prd"], ("Dockerfile.prd",)),
    ],
)
def test_similar_names_are_found(wanted: str, names: list[str], similar: tuple[str, ...]) -> None:
    assert sorted(similar_names(wanted, names)) == sorted(similar)


def test_missing_dockerfile_suggests_the_similar_file(tmp_path: Path) -> None:
    create(tmp_path, "Dockerfile.txt")
    with pytest.raises(DockerfileError, match=r"rename Dockerfile\.txt to Dockerfile"):
        load(find_dockerfile(tmp_path))
    with pytest.raises(DockerfileError, match="check the folder's name"):
        load(find_dockerfile(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("dockerfile", "names", "unread"),
    [
        ("Dockerfile", [".dockerignore", "Dockerfile.dockerignore"], []),
        ("Dockerfile", [".Dockerignore"], [".Dockerignore"]),
        ("Dockerfile", ["dockerignore", ".dockerignore.txt"], [".dockerignore.txt", "dockerignore"]),
        ("docker/Dockerfile.ci", ["docker/.dockerignore"], ["docker/.dockerignore"]),
        ("docker/Dockerfile.ci", ["docker/Dockerfile.ci.dockerignore", ".dockerignore"], []),
        ("docker/Dockerfile.ci", ["Dockerfile.ci.dockerignore"], ["Dockerfile.ci.dockerignore"]),
        ("Dockerfile", ["dockerfile.dockerignore"], ["dockerfile.dockerignore"]),
        ("Dockerfile", ["other/.dockerignore", "Dockerfile.ci.dockerignore"], []),
    ],
)
def test_ignore_file_of_another_name_or_folder_is_not_read(
    tmp_path: Path, dockerfile: str, names: list[str], unread: list[str]
) -> None:
    create(tmp_path, dockerfile, *names)
    assert list(unread_ignore_files(tmp_path, tmp_path / dockerfile)) == [tmp_path / name for name in unread]
