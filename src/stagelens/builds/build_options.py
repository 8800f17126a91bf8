"""The keyword arguments that `build` shares with `record` and `explore`."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypedDict, TypeVar

from stagelens.buildkit import Cancel, Output
from stagelens.builds.build_spec import Secret
from stagelens.builds.trace import Backend, OnVertex
from stagelens.engine import Engine

P = ParamSpec("P")
R = TypeVar("R")


class BuildOptions(TypedDict, total=False):
    """The keyword arguments of `stagelens.build`, which describes each of them."""

    dockerfile: str | Path | None
    target: str | None
    tags: Sequence[str] | None
    build_args: Mapping[str, str | None] | None
    labels: Mapping[str, str] | None
    no_cache: bool
    pull: bool
    cache_from: Sequence[str] | None
    secrets: Mapping[str, Secret] | None
    ssh: Mapping[str, str] | None
    output: Output | None
    network: str | None
    platform: str | None
    build_contexts: Mapping[str, str | Path] | None
    engine: Engine | None
    on_vertex: OnVertex | None
    cancel: Cancel | None
    backend: Backend | None


def with_build_options(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that takes `**options: Unpack[BuildOptions]`.

    Its signature, which editors, `help` and the API pages show, lists each option instead of `**options`. Any
    other keyword is a TypeError, as in a function that names its keywords.
    """
    declared = inspect.signature(function)
    *parameters, _ = declared.parameters.values()
    options = (
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if kind is bool else None, annotation=kind
        )
        for name, kind in BuildOptions.__annotations__.items()
    )
    signature = declared.replace(parameters=[*parameters, *options])

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{function.__name__}(): {error}") from None
        return function(*args, **kwargs)

    checked.__dict__["__signature__"] = signature
    return checked
