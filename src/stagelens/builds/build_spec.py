"""The inputs of a build, and its context in the form that each backend needs."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from stagelens.buildkit import BuildRequest, Env, FileSource, FolderSource, MemorySource, Output
from stagelens.buildkit.context import CHUNK_BYTES, load_ignore, read_ignore, tar_stream
from stagelens.builds.build_contexts import BuildContext
from stagelens.dockerfile import similar_names
from stagelens.errors import StagelensError

_TEMPORARY_NAME = ".stagelens.Dockerfile"
# Members that describe the next one: PAX and GNU headers.
_EXTENDED_HEADERS = (b"x", b"g", b"L", b"K")
_GZIP = 31
_MAX_DOCKERFILE_BYTES = 1024 * 1024

Secret = bytes | Path | Env


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """A build: made by `build`, and by the snapshot room for its probes.

    `context` is a folder or a tar; `request.dockerfile` a path from there, or an absolute one that may be
    outside of it. `text` is built instead of what that file holds (for a tar it must be the same). `output`
    takes the result, instead of an image.
    """

    context: Path
    request: BuildRequest
    text: str
    secrets: Mapping[str, Secret] = field(default_factory=dict[str, Secret], repr=False)
    ssh: Mapping[str, str] = field(default_factory=dict[str, str])
    output: Output | None = None
    build_contexts: tuple[BuildContext, ...] = ()

    @property
    def is_archive(self) -> bool:
        """Whether the context is a tar."""
        return self.context.is_file()

    @property
    def needs_session(self) -> bool:
        """Whether the build needs something that only a session offers."""
        return bool(self.secrets or self.ssh or self.output or self.build_contexts)

    @property
    def dockerfile(self) -> Path:
        """The path of the Dockerfile; the file may be missing."""
        return (self.context / self.request.dockerfile).absolute()

    def dockerfile_tree(self) -> MemorySource:
        """Return the session's tree "dockerfile": the parsed text, and the ignore file next to it."""
        path = self.dockerfile
        files = {path.name: self.text.encode()}
        ignore = f"{path.name}.dockerignore"
        if (patterns := read_ignore(path.parent, ignore)) is not None:
            files[ignore] = patterns
        return MemorySource(files)

    def context_trees(self) -> dict[str, FileSource]:
        """Return the session's trees of the folders among the build contexts, by name."""
        return {
            context.tree: FolderSource(context.folder)
            for context in self.build_contexts
            if context.folder is not None
        }

    def archive(self) -> tuple[str, Iterator[bytes]]:
        """Return the Dockerfile's name in the context, and the context as a tar."""
        if self.is_archive:
            return self.request.dockerfile, _chunks(self.context)
        path, name = self.dockerfile, _TEMPORARY_NAME
        if path.is_file() and path.is_relative_to(self.context.absolute()):
            name = path.relative_to(self.context.absolute()).as_posix()
        ignore = load_ignore(self.context, path)
        return name, tar_stream(self.context, ignore, [(name, self.text.encode())])


def archived_dockerfile(archive: Path, dockerfile: str | Path | None) -> tuple[str, str]:
    """Return the name and the text of a Dockerfile in a tar, compressed or not.

    Parameters
    ----------
    archive
        The tar.
    dockerfile
        The name in the tar; by default `Dockerfile`, and `dockerfile` where there is none.

    Raises
    ------
    StagelensError
        If the file is not a tar, or has no such Dockerfile.
    """
    wanted = PurePosixPath("/", dockerfile or "Dockerfile")
    lower = wanted.with_name("dockerfile")
    found: dict[PurePosixPath, str] = {}
    beside: set[str] = set()
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = PurePosixPath("/", member.name)
                if path.parent == wanted.parent:
                    beside.add(path.name)
                if path in (wanted, lower) and (file := tar.extractfile(member)):
                    found[path] = file.read(_MAX_DOCKERFILE_BYTES).decode()
                if path == wanted and path in found:
                    break
    except (tarfile.TarError, OSError, EOFError, UnicodeDecodeError) as error:
        raise StagelensError(
            "The build context is neither a folder nor a readable tar.",
            where=str(archive),
            why=str(error),
            remedy="give a folder, or a tar (plain, gzip, bzip2 or xz)",
        ) from error
    path = wanted if wanted in found or wanted.name != "Dockerfile" else lower
    if path not in found:
        similar = similar_names(wanted.name, beside)
        raise StagelensError(
            f"The archive has no {wanted.relative_to('/')}.",
            where=str(archive),
            remedy=f"rename {' or '.join(similar)} in it, or give its name" if similar else None,
        )
    return str(path.relative_to("/")), found[path]


def _chunks(file: Path) -> Iterator[bytes]:
    """Yield a tar so that BuildKit recognizes it.

    BuildKit looks for a whole header in the first 1,024 bytes. Where an extended header comes first, as from
    Python, the tar is compressed: compressed files are recognized by their first bytes.
    """
    with file.open("rb") as stream:
        chunk = stream.read(CHUNK_BYTES)
        if chunk[257:262] == b"ustar" and chunk[156:157] in _EXTENDED_HEADERS:
            packer = zlib.compressobj(1, wbits=_GZIP)
            while chunk:
                yield packer.compress(chunk)
                chunk = stream.read(CHUNK_BYTES)
            yield packer.flush()
        while chunk:
            yield chunk
            chunk = stream.read(CHUNK_BYTES)
