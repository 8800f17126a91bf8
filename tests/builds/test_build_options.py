"""`build`, `record` and `explore` share their options, which `build` describes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import stagelens
from stagelens.builds import BuildOptions

FUNCTIONS = (stagelens.build, stagelens.record, stagelens.explore)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_signature_lists_each_option_as_a_keyword(function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters
    assert set(BuildOptions.__annotations__) <= set(parameters)
    assert parameters["no_cache"].default is False
    assert all(
        parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in BuildOptions.__annotations__
    )
    assert "options" not in parameters


@pytest.mark.parametrize("function", FUNCTIONS)
def test_unknown_option_is_a_type_error_that_names_it(function: Callable[..., Any]) -> None:
    with pytest.raises(
        TypeError, match=rf"{function.__name__}\(\).* unexpected keyword argument 'dockerfil'"
    ):
        function("no-folder", dockerfil="Dockerfile")


def test_docstring_of_build_describes_each_option() -> None:
    described = re.findall(r"^(\w+)$", inspect.getdoc(stagelens.build) or "", re.MULTILINE)
    start, end = described.index("Parameters"), described.index("Returns")
    assert described[start + 1 : end] == ["context", *BuildOptions.__annotations__]
