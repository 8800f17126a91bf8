"""Files of every stage after every instruction, their changes and origins, and the layers of images."""

from stagelens.snapshot.changes import Diff, TableComparison, compare_tables, diff
from stagelens.snapshot.exploration import Exploration, FileContent, StageFiles, explore, read_file
from stagelens.snapshot.inspection import ExplorationFailed
from stagelens.snapshot.origin import FileStep, destinations, history, left_behind
from stagelens.snapshot.table import Entry, FileTable, Kind

__all__ = [
    "Diff",
    "Entry",
    "Exploration",
    "ExplorationFailed",
    "FileContent",
    "FileStep",
    "FileTable",
    "Kind",
    "StageFiles",
    "TableComparison",
    "compare_tables",
    "destinations",
    "diff",
    "explore",
    "history",
    "left_behind",
    "read_file",
]
