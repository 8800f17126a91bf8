"""A stream as tarfile wants a file: moves only forward, and no hostile header costs memory or time."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from typing import IO, cast

CHUNK = 1 << 20
# The most that one header may take; tarfile reads extended headers in one piece.
_HEADER = 128 << 10
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_DIGIT_RUN = b"0" * 4097


class Forward:
    """Reads from `source`, a file's `read`. headers: whether only headers are read, not contents."""

    def __init__(self, source: Callable[[int], bytes], *, headers: bool = True) -> None:
        self._source = source
        self._position = 0
        self._headers = headers

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises
        ------
        ValueError: a header is too large, or holds what takes tarfile endless time.
        """
        if not 0 <= size <= (_HEADER if self._headers else CHUNK):
            raise ValueError("a header of the archive is too large")
        data = self.pass_on(size)
        # tarfile searches extended headers in time quadratic in a run of digits (CVE-2024-6232).
        if self._headers and size > tarfile.BLOCKSIZE and _DIGIT_RUN in data.translate(_DIGITS):
            raise ValueError("a header of the archive holds an endless number")
        return data

    def pass_on(self, size: int) -> bytes:
        """The next bytes, whatever they are; all that is read comes this way."""
        data = self._source(size)
        self._position += len(data)
        return data

    def tell(self) -> int:
        """How many bytes have passed."""
        return self._position

    def seek(self, position: int) -> int:
        """Read on to `position`. Raises tarfile.ReadError: the stream ends before, or is past it."""
        while self._position < position and self.pass_on(min(CHUNK, position - self._position)):
            pass
        if self._position != position:
            raise tarfile.ReadError("the archive is cut short")
        return position

    def drain(self) -> None:
        """Read to the end."""
        while self.pass_on(CHUNK):
            pass


def members(stream: Forward) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of a tar, none of them kept (tarfile's own iteration keeps them all)."""
    archive = tarfile.TarFile(
        fileobj=cast("IO[bytes]", stream), mode="r", encoding="utf-8", errors="surrogateescape"
    )
    while (member := archive.next()) is not None:
        archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
        yield archive, member
