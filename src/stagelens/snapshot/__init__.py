"""Files of every stage after every instruction, their changes and origins, and the final image's layers."""

from stagelens.snapshot.diff import Diff, diff
from stagelens.snapshot.entry import Entry, Kind
from stagelens.snapshot.origin import Step, history
from stagelens.snapshot.probe import Exploration, FileContent, StageFiles, explore, read_file
from stagelens.snapshot.table import FileTable

__all__ = [
    "Diff",
    "Entry",
    "Exploration",
    "FileContent",
    "FileTable",
    "Kind",
    "StageFiles",
    "Step",
    "diff",
    "explore",
    "history",
    "read_file",
]
