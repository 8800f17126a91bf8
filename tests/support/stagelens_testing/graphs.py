"""Graphs as BuildKit's Dockerfile frontend makes them."""

from __future__ import annotations

import hashlib

from stagelens.buildkit.llb import LlbGraph, OpOutput
from stagelens.buildkit.proto.buildkit_pb2 import (
    Definition,
    ExecOp,
    FileAction,
    FileActionCopy,
    FileActionMkFile,
    FileOp,
    Input,
    MergeInput,
    MergeOp,
    Mount,
    Op,
    Position,
    SourceOp,
)


class GraphMaker:
    """Makes graphs as BuildKit's frontend does; ops of the same bytes are one, with its first name.

    Parameters
    ----------
    text
        The Dockerfile that the lines of ops belong to.
    """

    def __init__(self, text: str = "") -> None:
        self.definition = Definition()
        self.definition.source.infos.add(filename="Dockerfile", data=text.encode())

    def _add(self, op: Op, name: str, *instructions: range) -> OpOutput:
        raw = op.SerializeToString()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if digest not in self.definition.metadata:
            getattr(self.definition, "def").append(raw)
            self.definition.metadata[digest].description["llb.customname"] = name
        for lines in instructions:
            one = self.definition.source.locations[digest].locations.add()
            for line in lines:
                one.ranges.add(start=Position(line=line), end=Position(line=line))
        return OpOutput(digest, 0)

    @staticmethod
    def _inputs(*edges: OpOutput) -> list[Input]:
        return [Input(digest=edge.digest, index=edge.index) for edge in edges]

    def image(self, image: str, name: str, *at: range) -> OpOutput:
        return self.source(f"docker-image://{image}", name, *at)

    def source(self, identifier: str, name: str, *at: range) -> OpOutput:
        return self._add(Op(source=SourceOp(identifier=identifier)), name, *at)

    def inline(self, path: str, data: bytes) -> OpOutput:
        made = FileActionMkFile(path=path, data=data)
        action = FileAction(input=-1, secondary_input=-1, output=0, mkfile=made)
        return self._add(Op(file=FileOp(actions=[action])), "[internal] preparing inline document")

    def run(
        self, base: OpOutput, what: str, name: str, *at: range, mounted: OpOutput | None = None
    ) -> OpOutput:
        """Return the op of a RUN; `what` makes it differ from others."""
        inputs = self._inputs(base, *([mounted] if mounted else []))
        mounts = [Mount(input=0, dest="/", output=0), Mount(input=1 if mounted else -1, dest=what, output=-1)]
        return self._add(Op(inputs=inputs, exec=ExecOp(mounts=mounts)), name, *at)

    def copy(self, base: OpOutput | None, source: OpOutput, name: str, *at: range) -> OpOutput:
        """Return the op of a COPY: two files are copied, one action after the other, as for `COPY a b /`."""
        inputs = self._inputs(*([base] if base else []), source)
        given = len(inputs)
        one, two = (FileActionCopy(src=path, dest="/app/") for path in ("/x", "/y"))
        first = FileAction(input=0 if base else -1, secondary_input=given - 1, output=-1, copy=one)
        second = FileAction(input=given, secondary_input=given - 1, output=0, copy=two)
        return self._add(Op(inputs=inputs, file=FileOp(actions=[first, second])), name, *at)

    def merge(self, base: OpOutput, other: OpOutput, name: str, *at: range) -> OpOutput:
        inputs = [MergeInput(input=0), MergeInput(input=1)]
        return self._add(Op(inputs=self._inputs(base, other), merge=MergeOp(inputs=inputs)), name, *at)

    def graph(self, end: OpOutput) -> LlbGraph:
        made = Definition()
        made.CopyFrom(self.definition)
        getattr(made, "def").append(Op(inputs=self._inputs(end)).SerializeToString())
        return LlbGraph(made)
