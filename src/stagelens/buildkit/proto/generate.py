"""Generate buildkit_pb2.py and its stub from buildkit.proto: `python -m stagelens.buildkit.proto.generate`.

Needs the `dev` extra: grpcio-tools brings the protobuf compiler.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc  # pyright: ignore[reportMissingTypeStubs]

HERE = Path(__file__).parent


def generate(out: Path = HERE) -> None:
    """Write buildkit_pb2.py and buildkit_pb2.pyi; exit if protoc fails.

    Parameters
    ----------
    out
        The folder to write to.
    """
    well_known = Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{HERE}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}"]
    if status := protoc.main([*arguments, "buildkit.proto"]):
        sys.exit(status)


if __name__ == "__main__":
    generate()
