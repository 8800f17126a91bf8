"""LLB, the graph that BuildKit makes of a Dockerfile: its ops, their inputs, and parts of it.

Source: solver/pb/ops.proto of moby/buildkit. A definition lists ops after their inputs; an op's name is the
digest of its bytes; the last op has one input, the result of the graph.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stagelens.buildkit.proto.buildkit_pb2 import (
    Definition,
    FileAction,
    FileActionMkFile,
    FileOp,
    Input,
    Op,
    SourceOp,
)

_NOTHING = -1  # where an action has no input
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_NAME = "llb.customname"  # in an op's description: the name of its vertex in the events


@dataclass(frozen=True, slots=True)
class OpOutput:
    """An output of an op: a tree of files.

    Attributes
    ----------
    digest
        The op.
    index
        The output's number.
    """

    digest: str
    index: int


class LlbGraph:
    """A parsed definition.

    Parameters
    ----------
    definition
        The definition, as BuildKit sends it.

    Attributes
    ----------
    result
        The output that the graph ends in, None if that is empty (scratch).
    """

    def __init__(self, definition: Definition) -> None:
        self._metadata = definition.metadata
        self._source = definition.source
        self._raw = {_digest(raw): raw for raw in _ops(definition)}
        self._parsed = {digest: Op.FromString(raw) for digest, raw in self._raw.items()}
        last = next(reversed(self._parsed.values()), Op())
        self.result = OpOutput(last.inputs[0].digest, last.inputs[0].index) if len(last.inputs) == 1 else None

    def ops(self) -> dict[str, bytes]:
        """Return the bytes of each op by its digest, inputs first, without the end of the graph."""
        return dict(list(self._raw.items())[:-1])

    def kind(self, digest: str) -> str | None:
        """Return the kind of an op: `exec`, `source`, `file` or `merge`; None for another kind."""
        return self._parsed[digest].WhichOneof("op")

    def image(self, digest: str) -> str | None:
        """Return the name of the image that an op loads, without its digest; None for another op."""
        scheme, _, name = self._parsed[digest].source.identifier.partition("://")
        return name.partition("@")[0] if scheme == "docker-image" else None

    def inputs(self, digest: str) -> tuple[OpOutput, ...]:
        """Return the outputs that an op uses."""
        return tuple(OpOutput(one.digest, one.index) for one in self._parsed[digest].inputs)

    def first_lines(self, text: str) -> dict[str, tuple[int, ...]]:
        """Return the first line of each instruction that an op is made from, by the op's digest.

        BuildKit makes one op from equal instructions of several stages.

        Parameters
        ----------
        text
            The Dockerfile. Lines of other sources are left out.
        """
        same = [info.data.decode("utf-8-sig", "replace") == text for info in self._source.infos]
        found = {
            digest: tuple(
                one.ranges[0].start.line for one in at.locations if one.ranges and same[one.source_index]
            )
            for digest, at in self._source.locations.items()
        }
        return {digest: lines for digest, lines in found.items() if lines}

    def named_ops(self) -> Iterator[tuple[str, str]]:
        """Yield the digest and the name of each op that has a name, inputs first."""
        for digest in self._raw:
            if name := self.name(digest):
                yield digest, name

    def name(self, digest: str) -> str:
        """Return the name of an op in the build's events, "" if it has none."""
        return self._metadata[digest].description.get(_NAME, "") if digest in self._metadata else ""

    def root_output(self, digest: str) -> OpOutput:
        """Return an op's tree: the root of a RUN, or the tree after the file actions."""
        op = self._parsed[digest]
        outputs = [mount.output for mount in op.exec.mounts if mount.dest == "/"]
        outputs += [action.output for action in op.file.actions if action.output >= 0]
        return OpOutput(digest, outputs[-1] if outputs else 0)

    def parent(self, edge: OpOutput) -> OpOutput | None:
        """Return the output below: the previous step of the stage, None for sources and scratch."""
        op = self._parsed[edge.digest]
        position = -1
        match op.WhichOneof("op"):
            case "exec":
                position = next((mount.input for mount in op.exec.mounts if mount.dest == "/"), -1)
            case "file":
                position = self._file_base(op, edge.index)
            case "merge":
                position = op.merge.inputs[0].input if op.merge.inputs else -1
            case _:
                pass
        return _edge(op, position)

    def _file_base(self, op: Op, output: int) -> int:
        """Return the input that the actions behind an output start from."""
        actions = op.file.actions
        at = next((i for i, action in enumerate(actions) if action.output == output), len(actions) - 1)
        while at >= 0:
            position = actions[at].input
            if position < len(op.inputs):
                return position
            at = min(position - len(op.inputs), at - 1)  # actions build on earlier ones only
        return -1

    def copy_source(self, digest: str) -> OpOutput | None:
        """Return the source of a COPY's first action, None if the op copies nothing."""
        op = self._parsed[digest]
        positions = (action.secondary_input for action in op.file.actions)
        return next((edge for position in positions if (edge := _edge(op, position)) is not None), None)

    def copy_paths(self, digest: str) -> tuple[tuple[str, ...], str] | None:
        """Return the sources and the destination of a COPY, from the root; None if the op copies nothing."""
        op = self._parsed[digest]
        if op.WhichOneof("op") == "merge" and op.merge.inputs:  # COPY --link: the last input is the copy
            return self.copy_paths(op.inputs[op.merge.inputs[-1].input].digest)
        copies = [action.copy for action in op.file.actions if action.HasField("copy")]
        return (tuple(copy.src for copy in copies), copies[0].dest) if copies else None

    def definition_of(self, edge: OpOutput) -> Definition:
        """Return the definition of one output, with what it needs and no more."""
        needed: set[str] = set()
        waiting = [edge.digest]
        while waiting:
            digest = waiting.pop()
            if digest not in needed:
                needed.add(digest)
                waiting += [one.digest for one in self._parsed[digest].inputs]
        cut = Definition()
        for digest, raw in self._raw.items():
            if digest in needed:
                _ops(cut).append(raw)
                if digest in self._metadata:
                    cut.metadata[digest].CopyFrom(self._metadata[digest])
        _ops(cut).append(_end(edge))
        return cut


def replace_session(ops: Iterable[bytes], old: str, new: str) -> dict[str, str]:
    """Return the digests that ops have in another session, by their digests in this one.

    The op of the build context holds the id of the session, and so its digest and those of all ops above it
    change with each session. Ids and digests keep their length, so that the encoding stays the same.

    Parameters
    ----------
    ops
        The bytes of each op, inputs first.
    old, new
        The ids of the two sessions.
    """
    digests: dict[bytes, bytes] = {}
    for raw in ops:
        moved = raw.replace(old.encode(), new.encode())
        moved = _DIGEST.sub(lambda found: digests.get(found[0], found[0]), moved)
        digests[_digest(raw).encode()] = _digest(moved).encode()
    return {before.decode(): after.decode() for before, after in digests.items()}


def image_definition(name: str) -> Definition:
    """Return the graph of an image alone.

    Parameters
    ----------
    name
        The full name, with registry and tag.
    """
    return _definition(Op(source=SourceOp(identifier=f"docker-image://{name}")))


def file_definition(path: str, mode: int, data: bytes) -> Definition:
    """Return the graph of a tree with a single file, which travels inside the graph.

    Parameters
    ----------
    path
        The absolute path of the file.
    mode
        The permissions of the file.
    data
        The content. A message holds at most 4 MB.

    Returns
    -------
    Definition
        A graph that needs no image, no build context and no session.
    """
    made = FileActionMkFile(path=path, mode=mode, data=data, timestamp=0)
    action = FileAction(input=_NOTHING, secondary_input=_NOTHING, output=0, mkfile=made)
    return _definition(Op(file=FileOp(actions=[action])))


def _definition(op: Op) -> Definition:
    raw = op.SerializeToString()
    made = Definition()
    _ops(made).extend([raw, _end(OpOutput(_digest(raw), 0))])
    return made


def _end(edge: OpOutput) -> bytes:
    return Op(inputs=[Input(digest=edge.digest, index=edge.index)]).SerializeToString()


def _edge(op: Op, position: int) -> OpOutput | None:
    return (
        OpOutput(op.inputs[position].digest, op.inputs[position].index)
        if 0 <= position < len(op.inputs)
        else None
    )


def _ops(definition: Definition):
    return getattr(definition, "def")  # `def` is a keyword of Python


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
