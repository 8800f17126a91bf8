"""The entries of a folder tree in columns: sorted, immutable, about 120 bytes a file."""

from __future__ import annotations

import struct
import sys
import zlib
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
    """A file without its content.

    Attributes
    ----------
    path
        The path, with `/` between its parts and no slash at either end. Bytes that are not UTF-8 are
        represented by surrogateescape.
    kind
        The kind of file.
    mode
        The permission bits, 0 to 0o7777.
    uid, gid
        The owner.
    size
        Bytes.
    mtime
        Whole seconds since 1970.
    link_target
        The target of a symlink; None for other files.
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
_MAGIC = b"stagelens-files\x02" + (b"<" if sys.byteorder == "little" else b">")
_HEADER = struct.Struct("<QQQ")  # rows, bytes of keys, bytes of link targets
_CHECKSUM = struct.Struct("<I")  # of all that follows; a digest would take most of the time of storing


def path_key(path: str) -> bytes:
    """Return the bytes that a path is sorted by.

    With NUL between its parts, a folder comes before its content, and its content before a sibling with a
    longer name (`a`, `a/b`, `a-b`).
    """
    return path.replace("/", "\0").encode("utf-8", "surrogateescape")


def key_path(key: bytes) -> str:
    """Return the path of a key; the inverse of `path_key`."""
    return key.replace(b"\0", b"/").decode("utf-8", "surrogateescape")


def pack_kind(kind: Kind, mode: int) -> int:
    """Pack kind and permission bits into one number of 16 bits."""
    return KINDS.index(kind) << _MODE_BITS | (mode & _MODE_MASK)


def is_clean(path: str) -> bool:
    """Return whether a table accepts a path: relative, without NUL and empty, `.` or `..` parts."""
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


class Span(NamedTuple):
    """A name in a folder with the rows that it covers.

    Attributes
    ----------
    name
        The name.
    row
        The row of its entry; None if it has no entry.
    start, stop
        The rows of the name and of everything below it are `start` to `stop - 1`.
    """

    name: bytes
    row: int | None
    start: int
    stop: int


class FileTable:
    """The entries of a tree, sorted by the parts of their paths. The root is not among them.

    Tables are made by `from_entries`, `from_columns` or `from_bytes`, and never change.
    """

    def __init__(self, keys: bytes, links: bytes, columns: dict[str, array[int]]) -> None:
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
        """Sort entries into a table. Of two entries with the same path, the later one is used.

        Raises
        ------
        ValueError
            If a path is not clean (see `is_clean`), or a number is too large (owners 32 bits, sizes 64).
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
    def from_rows(cls, rows: Iterable[tuple[FileTable, int]]) -> FileTable:
        """Sort rows of other tables, given with their numbers, into a table. No two have the same path."""
        keyed = sorted((table.key(row), table, row) for table, row in rows)
        return cls.from_columns(
            keys=[key for key, _, _ in keyed],
            kinds=[table._kinds[row] for _, table, row in keyed],
            uids=[table._uids[row] for _, table, row in keyed],
            gids=[table._gids[row] for _, table, row in keyed],
            sizes=[table._sizes[row] for _, table, row in keyed],
            mtimes=[table._mtimes[row] for _, table, row in keyed],
            targets=[table._target(row) for _, table, row in keyed],
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
        """Make a table of columns of one length.

        Parameters
        ----------
        keys
            The keys of clean paths, in rising order.
        kinds
            Kinds and permission bits (see `pack_kind`).
        uids, gids, sizes, mtimes
            As in `Entry`.
        targets
            The targets of symlinks; empty for other files.

        Raises
        ------
        ValueError
            If a number is too large (owners 32 bits, sizes 64).
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
        """Return a table with the rows of another one and some folders of this one.

        Parameters
        ----------
        same
            The keys of the folders whose content comes from this table.
        listed
            The other table. It has these folders themselves and nothing below them.
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
        """Join rows `start` to `stop - 1` of tables; their keys rise."""
        columns = {name: array(code, [0] if name in _WITH_END else []) for name, code in _COLUMNS}
        keys: list[bytes] = []
        links: list[bytes] = []
        for table, start, stop in parts:
            for name, column in columns.items():
                own = table._columns[name]
                if name in _WITH_END:
                    column.extend(_shifted(own[start + 1 : stop + 1], column[-1] - own[start]))
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
        """Return the sort key of a row (see `path_key`)."""
        return self._keys[self._offsets[row] : self._offsets[row + 1]]

    def entry(self, row: int) -> Entry:
        """Return the entry in a row, 0 to len - 1."""
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
        """Return what makes a row differ from another version of it.

        That is everything, but only kind, mode and owner for a folder: its time and size change with its
        content.
        """
        owner = (self._kinds[row], self._uids[row], self._gids[row])
        if self._kinds[row] >> _MODE_BITS == _DIR:
            return owner
        return (*owner, self._sizes[row], self._mtimes[row], self._target(row))

    def same_run(self, row: int, other: FileTable, other_row: int, most: int) -> int:
        """Return `most` if so many rows from here on are the same in both tables, else 0.

        Whole columns are compared at once, so that comparing two tables that differ little is quick.
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
        """Return the kind of a row without making its entry."""
        return KINDS[self._kinds[row] >> _MODE_BITS]

    def size(self, row: int) -> int:
        """Return the bytes of a row that is a regular file; 0 for all others."""
        return self._sizes[row] if self._kinds[row] >> _MODE_BITS == _FILE else 0

    def get(self, path: str) -> Entry | None:
        """Return the entry at a path, or None, in logarithmic time."""
        row = self.row(path)
        return self.entry(row) if row is not None else None

    def row(self, path: str) -> int | None:
        """Return the row of a path, or None, in logarithmic time."""
        key = path_key(path)
        row = self._search(key)
        return row if row < len(self) and self.key(row) == key else None

    def children(self, path: str = "") -> tuple[Entry, ...]:
        """Return the entries directly in a folder (`""` is the root), in order; none for other files."""
        return tuple(self.entry(span.row) for span in self.spans(path) if span.row is not None)

    def spans(self, path: str = "") -> Iterator[Span]:
        """Yield what is directly in a folder, in order, with the rows that each name covers.

        A folder that has no entry, but entries below it, is among them.
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
        """Return how many files (all but folders) are at or below a path, and the regular ones' bytes."""
        files, sizes = self._sums
        start, stop = self.subtree(path)
        if path and start and self.key(start - 1) == path_key(path):
            start -= 1
        return files[stop] - files[start], sizes[stop] - sizes[start]

    def to_bytes(self) -> bytes:
        """Return the table as bytes, for `from_bytes` on a machine of the same byte order."""
        return b"".join(self.to_parts())

    def to_parts(self) -> list[bytes]:
        """Return the bytes of `to_bytes` in parts, without a copy of the longest ones."""
        parts = [_HEADER.pack(len(self), len(self._keys), len(self._links))]
        parts += [self._columns[name].tobytes() for name, _ in _COLUMNS]
        parts += [self._keys, self._links]
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        return [_MAGIC, _CHECKSUM.pack(checksum), *parts]

    @classmethod
    def from_bytes(cls, data: bytes) -> FileTable:
        """Read a table from the bytes that `to_bytes` returned.

        Raises
        ------
        ValueError
            If the bytes are of another version or byte order, or damaged.
        """
        start = len(_MAGIC) + _CHECKSUM.size
        body = data[start:]
        if data[:start] != _MAGIC + _CHECKSUM.pack(zlib.crc32(body)) or len(body) < _HEADER.size:
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
        """Return the first row whose key is not below `key`."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.key(middle) < key:
                low = middle + 1
            else:
                high = middle
        return low

    def subtree(self, path: str) -> tuple[int, int]:
        """Return the first row below a path, and the row after the last one."""
        if not path:
            return 0, len(self)
        key = path_key(path)
        return self._search(key + b"\0"), self._search(key + b"\x01")

    @cached_property
    def _ends(self) -> array[int]:
        """The row after the subtree of each row."""
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
        """Running totals of files and bytes before each row: the total of a subtree is one subtraction."""
        kinds = [packed >> _MODE_BITS for packed in self._kinds]
        files = array("I", accumulate((kind != _DIR for kind in kinds), initial=0))
        sizes = (size if kind == _FILE else 0 for kind, size in zip(kinds, self._sizes, strict=True))
        return files, array("Q", accumulate(sizes, initial=0))


def _shifted(offsets: array[int], shift: int) -> array[int]:
    """Return offsets with a number added to each: as the digits of one large number, all at once."""
    if not shift or not offsets:
        return offsets
    ones = int.from_bytes((array("I", [1]) * len(offsets)).tobytes(), sys.byteorder)
    total = int.from_bytes(offsets.tobytes(), sys.byteorder) + shift * ones
    return array("I", total.to_bytes(len(offsets) * offsets.itemsize, sys.byteorder))
