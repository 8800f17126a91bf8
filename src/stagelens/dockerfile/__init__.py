"""Parse a Dockerfile into stages, instructions and the edges between them, without an engine or network."""

from stagelens.dockerfile.defaults import (
    automatic_args,
    context_name,
    normalize_image_name,
    normalize_platform,
)
from stagelens.dockerfile.errors import DockerfileError, SeveralPlatforms, StageNotFound
from stagelens.dockerfile.expansion import expand
from stagelens.dockerfile.file_names import (
    find_dockerfile,
    ignore_file_paths,
    missing_remedy,
    similar_names,
    unread_ignore_files,
)
from stagelens.dockerfile.model import Dockerfile, EdgeKind, Flag, Heredoc, Instruction, Stage, StageEdge
from stagelens.dockerfile.parser import load, parse
from stagelens.dockerfile.steps import (
    STEP_KEYWORDS,
    copy_paths,
    count_triggers,
    locate_vertex,
    stages_of_vertex,
    step_instructions,
)
from stagelens.dockerfile.words import (
    arg_defaults,
    env_pairs,
    is_heredoc_marker,
    mount_options,
    split_whitespace,
    split_words,
)

__all__ = [
    "STEP_KEYWORDS",
    "Dockerfile",
    "DockerfileError",
    "EdgeKind",
    "Flag",
    "Heredoc",
    "Instruction",
    "SeveralPlatforms",
    "Stage",
    "StageEdge",
    "StageNotFound",
    "arg_defaults",
    "automatic_args",
    "context_name",
    "copy_paths",
    "count_triggers",
    "env_pairs",
    "expand",
    "find_dockerfile",
    "ignore_file_paths",
    "is_heredoc_marker",
    "load",
    "locate_vertex",
    "missing_remedy",
    "mount_options",
    "normalize_image_name",
    "normalize_platform",
    "parse",
    "similar_names",
    "split_whitespace",
    "split_words",
    "stages_of_vertex",
    "step_instructions",
    "unread_ignore_files",
]
