"""The build context on disk: its paths, their metadata and contents. No network."""

from stagelens.buildkit.context.content import CHUNK_BYTES, Contents
from stagelens.buildkit.context.ignorefile import load_ignore, parse_ignore, read_ignore
from stagelens.buildkit.context.patterns import Matcher
from stagelens.buildkit.context.tar import tar_stream
from stagelens.buildkit.context.walker import ContextEntry, walk
from stagelens.buildkit.errors import ContextError, FileVanished, PatternError

__all__ = [
    "CHUNK_BYTES",
    "Contents",
    "ContextEntry",
    "ContextError",
    "FileVanished",
    "Matcher",
    "PatternError",
    "load_ignore",
    "parse_ignore",
    "read_ignore",
    "tar_stream",
    "walk",
]
