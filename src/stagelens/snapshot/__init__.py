"""Files of every stage after every instruction, their changes and origins, and the final image's layers."""

from stagelens.snapshot.compare import Comparison, compare
from stagelens.snapshot.diff import Diff, diff
from stagelens.snapshot.entry import Entry, Kind
from stagelens.snapshot.origin import Step, history, journey, left_behind
from stagelens.snapshot.probe import Exploration, FileContent, StageFiles, explore, read_file
from stagelens.snapshot.prober import ProbeFailed
from stagelens.snapshot.table import FileTable

__all__ = [
    "Comparison",
    "Diff",
    "Entry",
    "Exploration",
    "FileContent",
    "FileTable",
    "Kind",
    "ProbeFailed",
    "StageFiles",
    "Step",
    "compare",
    "diff",
    "explore",
    "history",
    "journey",
    "left_behind",
    "read_file",
]
