"""A folder tree's entries in columns: sorted, immutable, about 120 bytes a file."""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from typing import Literal, NamedTuple, get_args

Kind = Literal["file", "dir", "symlink", "char", "block", "fifo", "socket"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one file without its content.

    `path` is separated by `/` and has no slash at either end; bytes that are not UTF-8 are kept by
    surrogateescape. `mode` holds the permission bits, 0 to 0o7777; `size` is in bytes, `mtime` in whole
    seconds since 1970. `link_target` is set for symlinks alone.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link_target: str | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


KINDS: tuple[Kind, ...] = get_args(Kind)
_DIR, _FILE = KINDS.index("dir"), KINDS.index("file")
_MODE_BITS = 12
_MODE_MASK = (1 << _MODE_BITS) - 1

# Columns in the order in which they are stored: name, array type code. The two offset columns have one
# number more than there are rows.
_COLUMNS = (
    ("offsets", "I"),
    ("link_offsets", "I"),
    ("kinds", "H"),
    ("uids", "I"),
    ("gids", "I"),
    ("sizes", "Q"),
    ("mtimes", "q"),
)
_WITH_END = {"offsets", "link_offsets"}
_MAGIC = b"stagelens-files\x01" + (b"<" if sys.byteorder == "little" else b">")
_HEADER = struct.Struct("<QQQ")  # rows, bytes of keys, bytes of link targets
_DIGEST_SIZE = 16


def path_key(path: str) -> bytes:
    """The bytes a path is sorted by: with NUL between its parts, a folder comes before what it holds, and
    its content before a sibling whose name goes on (`a`, `a/b`, `a-b`).
    """
    return path.replace("/", "\0").encode("utf-8", "surrogateescape")


def key_path(key: bytes) -> str:
    """The path of a key; the inverse of `path_key`."""
    return key.replace(b"\0", b"/").decode("utf-8", "surrogateescape")


def pack_kind(kind: Kind, mode: int) -> int:
    """Kind and permission bits in one number of 16 bits."""
    return KINDS.index(kind) << _MODE_BITS | (mode & _MODE_MASK)


def is_clean(path: str) -> bool:
    """Whether a path is one that a table takes: relative, no empty, `.` or `..` part, no NUL."""
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


class Span(NamedTuple):
    """One name in a folder: its own row (None where it has no entry), and the rows `start` to `stop - 1` of
    it and all below it.
    """

    name: bytes
    row: int | None
    start: int
    stop: int


class FileTable:
    """Entries of a tree, sorted by path parts; the root itself is not among them.

    Made by `from_entries` or `from_bytes`; never changed afterwards.
    """

    def __init__(self, keys: bytes, links: bytes, columns: dict[str, array[int]]) -> None:
        """Take over finished columns; callers use the class methods."""
        self._keys = keys
        self._links = links
        self._columns = columns
        self._offsets = columns["offsets"]
        self._link_offsets = columns["link_offsets"]
        self._kinds = columns["kinds"]
        self._uids = columns["uids"]
        self._gids = columns["gids"]
        self._sizes = columns["sizes"]
        self._mtimes = columns["mtimes"]

    @classmethod
    def from_entries(cls, entries: Iterable[Entry]) -> FileTable:
        """Sort entries into a table; of two with the same path the later one stays.

        Raises
        ------
        ValueError: a path is not clean (see `is_clean`), or a number does not fit (owners 32 bits, sizes 64).
        """
        rows = sorted({path_key(entry.path): entry for entry in entries}.items())
        for _, entry in rows:
            if not is_clean(entry.path):
                raise ValueError(f"not a path inside the tree: {entry.path!r}")
        values = [entry for _, entry in rows]
        return cls.from_columns(
            keys=[key for key, _ in rows],
            kinds=(pack_kind(entry.kind, entry.mode) for entry in values),
            uids=map(attrgetter("uid"), values),
            gids=map(attrgetter("gid"), values),
            sizes=map(attrgetter("size"), values),
            mtimes=map(attrgetter("mtime"), values),
            targets=[(entry.link_target or "").encode("utf-8", "surrogateescape") for entry in values],
        )

    @classmethod
    def from_columns(
        cls,
        *,
        keys: Sequence[bytes],
        kinds: Iterable[int],
        uids: Iterable[int],
        gids: Iterable[int],
        sizes: Iterable[int],
        mtimes: Iterable[int],
        targets: Sequence[bytes],
    ) -> FileTable:
        """A table of columns of one length, in the order of `keys`, which rise and come from clean paths.

        `kinds` are of `pack_kind`; `targets` are empty but for symlinks.

        Raises
        ------
        ValueError: a number does not fit (owners 32 bits, sizes 64).
        """
        try:
            columns = {
                "offsets": array("I", accumulate(map(len, keys), initial=0)),
                "link_offsets": array("I", accumulate(map(len, targets), initial=0)),
                "kinds": array("H", kinds),
                "uids": array("I", uids),
                "gids": array("I", gids),
                "sizes": array("Q", sizes),
                "mtimes": array("q", mtimes),
            }
        except OverflowError as error:
            raise ValueError(f"a number is too large for a file table: {error}") from error
        return cls(b"".join(keys), b"".join(targets), columns)

    def patched(self, same: Iterable[bytes], listed: FileTable) -> FileTable:
        """The table of `listed`, and of all that is below the folders `same` (by their keys) in this one.

        `listed` has these folders themselves and nothing below them.
        """
        parts: list[tuple[FileTable, int, int]] = []
        done = 0
        for key in sorted(same):
            at = listed._search(key + b"\0")
            parts.append((listed, done, at))
            parts.append((self, self._search(key + b"\0"), self._search(key + b"\x01")))
            done = at
        parts.append((listed, done, len(listed)))
        return self._joined([part for part in parts if part[1] < part[2]])

    @classmethod
    def _joined(cls, parts: Iterable[tuple[FileTable, int, int]]) -> FileTable:
        """Rows `start` to `stop - 1` of tables, one after the other; their keys rise."""
        columns = {name: array(code, [0] if name in _WITH_END else []) for name, code in _COLUMNS}
        keys: list[bytes] = []
        links: list[bytes] = []
        for table, start, stop in parts:
            for name, column in columns.items():
                own = table._columns[name]
                if name in _WITH_END:
                    shift = column[-1] - own[start]
                    column.extend(offset + shift for offset in own[start + 1 : stop + 1])
                else:
                    column.extend(own[start:stop])
            keys.append(table._keys[table._offsets[start] : table._offsets[stop]])
            links.append(table._links[table._link_offsets[start] : table._link_offsets[stop]])
        return cls(b"".join(keys), b"".join(links), columns)

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[Entry]:
        return map(self.entry, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileTable):
            return NotImplemented
        return (self._keys, self._links, self._columns) == (other._keys, other._links, other._columns)

    def __hash__(self) -> int:
        return hash((len(self), self._keys))

    def __repr__(self) -> str:
        return f"FileTable({len(self)} entries)"

    def key(self, row: int) -> bytes:
        """The sort key of a row (see `path_key`)."""
        return self._keys[self._offsets[row] : self._offsets[row + 1]]

    def entry(self, row: int) -> Entry:
        """The entry in a row, 0 to len - 1."""
        kind = KINDS[self._kinds[row] >> _MODE_BITS]
        return Entry(
            path=key_path(self.key(row)),
            kind=kind,
            mode=self._kinds[row] & _MODE_MASK,
            uid=self._uids[row],
            gid=self._gids[row],
            size=self._sizes[row],
            mtime=self._mtimes[row],
            link_target=self._target(row).decode("utf-8", "surrogateescape") if kind == "symlink" else None,
        )

    def stamp(self, row: int) -> tuple[object, ...]:
        """What makes a row differ from another version of it: everything, but of a folder only kind, mode
        and owner, since its time and size change with what it holds.
        """
        owner = (self._kinds[row], self._uids[row], self._gids[row])
        if self._kinds[row] >> _MODE_BITS == _DIR:
            return owner
        return (*owner, self._sizes[row], self._mtimes[row], self._target(row))

    def same_run(self, row: int, other: FileTable, other_row: int, most: int) -> int:
        """How many rows from here on are the same in both tables, if it is `most` of them; else 0.

        Compares whole columns at once, so that a walk over two tables that differ little is quick.
        """
        end, other_end = row + most, other_row + most
        if end > len(self) or other_end > len(other):
            return 0
        for name in ("kinds", "sizes", "mtimes", "uids", "gids"):
            if self._columns[name][row:end] != other._columns[name][other_row:other_end]:
                return 0
        same = (
            self._keys[self._offsets[row] : self._offsets[end]]
            == other._keys[other._offsets[other_row] : other._offsets[other_end]]
            and self._links[self._link_offsets[row] : self._link_offsets[end]]
            == other._links[other._link_offsets[other_row] : other._link_offsets[other_end]]
        )
        return most if same else 0

    def kind(self, row: int) -> Kind:
        """The kind of a row, without its entry being made."""
        return KINDS[self._kinds[row] >> _MODE_BITS]

    def size(self, row: int) -> int:
        """The bytes of a row that is a regular file; 0 for all others."""
        return self._sizes[row] if self._kinds[row] >> _MODE_BITS == _FILE else 0

    def get(self, path: str) -> Entry | None:
        """The entry at a path, or None; in logarithmic time."""
        key = path_key(path)
        row = self._search(key)
        return self.entry(row) if row < len(self) and self.key(row) == key else None

    def children(self, path: str = "") -> tuple[Entry, ...]:
        """The entries directly in a folder (`""` is the root), in order; none for a file or a stranger."""
        return tuple(self.entry(span.row) for span in self.spans(path) if span.row is not None)

    def spans(self, path: str = "") -> Iterator[Span]:
        """What is directly in a folder, in order, with the rows that each part covers.

        A folder without an entry of its own, known by what it holds alone, is among them.
        """
        row, stop = self.subtree(path)
        depth = path.count("/") + 1 if path else 0
        while row < stop:
            parts = self.key(row).split(b"\0")
            if len(parts) == depth + 1:
                end = self._ends[row]
                yield Span(parts[depth], row, row, end)
            else:
                end = self._search(b"\0".join(parts[: depth + 1]) + b"\x01")
                yield Span(parts[depth], None, row, end)
            row = end

    def usage(self, path: str = "") -> tuple[int, int]:
        """How many files (all but folders) are at or below a path, and the bytes of the regular ones."""
        files, sizes = self._sums
        start, stop = self.subtree(path)
        if path and start and self.key(start - 1) == path_key(path):
            start -= 1
        return files[stop] - files[start], sizes[stop] - sizes[start]

    def to_bytes(self) -> bytes:
        """The table as bytes for `from_bytes` on a machine of the same byte order."""
        parts = [_HEADER.pack(len(self), len(self._keys), len(self._links))]
        parts += [self._columns[name].tobytes() for name, _ in _COLUMNS]
        body = b"".join([*parts, self._keys, self._links])
        return _MAGIC + hashlib.blake2b(body, digest_size=_DIGEST_SIZE).digest() + body

    @classmethod
    def from_bytes(cls, data: bytes) -> FileTable:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ValueError: another version or byte order, or the bytes are damaged.
        """
        start = len(_MAGIC) + _DIGEST_SIZE
        body = data[start:]
        digest = hashlib.blake2b(body, digest_size=_DIGEST_SIZE).digest()
        if data[:start] != _MAGIC + digest or len(body) < _HEADER.size:
            raise ValueError("not a file table of this version, or damaged")
        rows, key_bytes, link_bytes = _HEADER.unpack_from(body)
        position = _HEADER.size
        columns: dict[str, array[int]] = {}
        for name, code in _COLUMNS:
            column = array(code)
            end = position + (rows + (name in _WITH_END)) * column.itemsize
            column.frombytes(body[position:end])
            columns[name] = column
            position = end
        if len(body) != position + key_bytes + link_bytes:
            raise ValueError("a file table of the wrong length")
        return cls(body[position : position + key_bytes], body[position + key_bytes :], columns)

    def _target(self, row: int) -> bytes:
        return self._links[self._link_offsets[row] : self._link_offsets[row + 1]]

    def _search(self, key: bytes) -> int:
        """The first row whose key is not below `key`."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.key(middle) < key:
                low = middle + 1
            else:
                high = middle
        return low

    def subtree(self, path: str) -> tuple[int, int]:
        """The rows below a path, without its own."""
        if not path:
            return 0, len(self)
        key = path_key(path)
        return self._search(key + b"\0"), self._search(key + b"\x01")

    @cached_property
    def _ends(self) -> array[int]:
        """For each row the row after its subtree."""
        ends = array("I", bytes(4 * len(self)))
        open_rows: list[tuple[int, bytes]] = []
        for row in range(len(self)):
            key = self.key(row)
            while open_rows and not key.startswith(open_rows[-1][1]):
                ends[open_rows.pop()[0]] = row
            open_rows.append((row, key + b"\0"))
        for row, _ in open_rows:
            ends[row] = len(self)
        return ends

    @cached_property
    def _sums(self) -> tuple[array[int], array[int]]:
        """Running totals of files and bytes before each row, so that a subtree is one subtraction."""
        kinds = [packed >> _MODE_BITS for packed in self._kinds]
        files = array("I", accumulate((kind != _DIR for kind in kinds), initial=0))
        sizes = (size if kind == _FILE else 0 for kind, size in zip(kinds, self._sizes, strict=True))
        return files, array("Q", accumulate(sizes, initial=0))
