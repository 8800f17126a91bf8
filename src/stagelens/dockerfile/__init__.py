"""Text to Dockerfile: stages, instructions, edges. Pure: no engine, no network."""

from stagelens.dockerfile.errors import DockerfileError, StageNotFound
from stagelens.dockerfile.expand import expand
from stagelens.dockerfile.model import Dockerfile, Edge, EdgeKind, Flag, Heredoc, Instruction, Stage
from stagelens.dockerfile.parse import load, parse
from stagelens.dockerfile.platforms import platform_arguments
from stagelens.dockerfile.reference import full_name
from stagelens.dockerfile.steps import STEP_KEYWORDS, copied_words, locate, step_instructions
from stagelens.dockerfile.words import (
    declared,
    is_heredoc,
    mount_options,
    named_values,
    split_blanks,
    split_words,
)

__all__ = [
    "STEP_KEYWORDS",
    "Dockerfile",
    "DockerfileError",
    "Edge",
    "EdgeKind",
    "Flag",
    "Heredoc",
    "Instruction",
    "Stage",
    "StageNotFound",
    "copied_words",
    "declared",
    "expand",
    "full_name",
    "is_heredoc",
    "load",
    "locate",
    "mount_options",
    "named_values",
    "parse",
    "platform_arguments",
    "split_blanks",
    "split_words",
    "step_instructions",
]
