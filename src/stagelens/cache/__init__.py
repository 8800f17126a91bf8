"""Explain why each step of a build ran or came from the cache, forecast the next build, mark predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelens.lazy_imports import lazy_face

if TYPE_CHECKING:
    from stagelens.cache.build_history import BuildHistory
    from stagelens.cache.comparison import Cause, CauseKind
    from stagelens.cache.context_files import unnoticed_changes
    from stagelens.cache.model import BuildInputs, BuildRecord, ContextFile, FileChange, InputImage, StepId
    from stagelens.cache.predictions import (
        MarkedPrediction,
        MarkedStep,
        PredictableStep,
        Prediction,
        mark_prediction,
        predictable_steps,
    )
    from stagelens.cache.reasons import Reason, Translate, unnoticed_reason
    from stagelens.cache.recording import read_inputs, record
    from stagelens.cache.reports import StepOutcome, StepReport, explain, forecast

__all__ = [
    "BuildHistory",
    "BuildInputs",
    "BuildRecord",
    "Cause",
    "CauseKind",
    "ContextFile",
    "FileChange",
    "InputImage",
    "MarkedPrediction",
    "MarkedStep",
    "PredictableStep",
    "Prediction",
    "Reason",
    "StepId",
    "StepOutcome",
    "StepReport",
    "Translate",
    "explain",
    "forecast",
    "mark_prediction",
    "predictable_steps",
    "read_inputs",
    "record",
    "unnoticed_changes",
    "unnoticed_reason",
]

_MODULES = {
    "build_history": ("BuildHistory",),
    "comparison": ("Cause", "CauseKind"),
    "context_files": ("unnoticed_changes",),
    "model": ("BuildInputs", "BuildRecord", "ContextFile", "FileChange", "InputImage", "StepId"),
    "predictions": (
        "MarkedPrediction",
        "MarkedStep",
        "PredictableStep",
        "Prediction",
        "mark_prediction",
        "predictable_steps",
    ),
    "reasons": ("Reason", "Translate", "unnoticed_reason"),
    "recording": ("read_inputs", "record"),
    "reports": ("StepOutcome", "StepReport", "explain", "forecast"),
}
__getattr__, __dir__ = lazy_face(__name__, _MODULES)
