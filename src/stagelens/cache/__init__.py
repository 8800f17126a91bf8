"""Why a step came from the cache or not: two builds compared, the next one foretold, predictions marked."""

from stagelens.cache.compare import Cause, CauseKind
from stagelens.cache.explain import StepVerdict, explain
from stagelens.cache.forecast import StepForecast, forecast
from stagelens.cache.history import History
from stagelens.cache.model import Base, BuildRecord, ContextFile, FileChange, Inputs
from stagelens.cache.predict import Marked, MarkedStep, Prediction, Question, mark, questions
from stagelens.cache.record import read_inputs, record

__all__ = [
    "Base",
    "BuildRecord",
    "Cause",
    "CauseKind",
    "ContextFile",
    "FileChange",
    "History",
    "Inputs",
    "Marked",
    "MarkedStep",
    "Prediction",
    "Question",
    "StepForecast",
    "StepVerdict",
    "explain",
    "forecast",
    "mark",
    "questions",
    "read_inputs",
    "record",
]
