"""Build a folder with BuildKit from Python, on docker-py.

    python docs/examples/session_build.py my-project --tag my-project
    python docs/examples/session_build.py my-project --secret token=token.txt --output dist

The first command builds an image, the second writes the result's files into a folder. The engine is that of
DOCKER_HOST, or the local one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import docker

from stagelens.buildkit import (
    Auth,
    BuildError,
    BuildRequest,
    FileSync,
    FolderSource,
    LocalFolder,
    Secrets,
    Session,
    shared_key,
    solve,
)
from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse


def show(status: StatusResponse) -> None:
    """Print each step once it is done, and what steps print while they run."""
    for vertex in status.vertexes:
        if vertex.HasField("completed"):
            print("CACHED" if vertex.cached else "done  ", vertex.name)
    for log in status.logs:
        print("       " + log.msg.decode("utf-8", "replace").rstrip("\n"))


def main() -> None:
    """Read the arguments and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("context", type=Path)
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument("--secret", action="append", default=[], metavar="ID=FILE")
    parser.add_argument("--output", type=Path, metavar="FOLDER")
    options = parser.parse_args()

    api = docker.from_env().api
    # The engine asks for two folders by name; here both are the same.
    tree = FolderSource(options.context)
    files = FileSync({"context": tree, "dockerfile": tree})
    secrets = dict(pair.split("=", 1) for pair in options.secret)
    services = [files, Auth(api), Secrets({name: Path(path) for name, path in secrets.items()})]
    request = BuildRequest(tags=tuple(options.tag))
    if options.output is not None:
        result = LocalFolder(options.output)
        services.append(result)
        request = BuildRequest(outputs=({"Type": result.exporter, "Attrs": {}},))
    with Session(api, services, shared_key=shared_key(options.context)) as session:
        try:
            image = solve(api, request, session=session.id, on_status=show)
        except BuildError as error:
            raise SystemExit(f"the build failed: {error}") from None
    sent = sum(transfer.content_bytes for transfer in files.transfers)
    print(f"{image or options.output}: {sent} bytes sent")


if __name__ == "__main__":
    main()
