"""Provide the base images of the course: present on the engine, else pulled, else made here as replicas."""

from stagelens_course.images.model import (
    LESSON_IMAGES,
    NAMES,
    REPLICA_LABEL,
    BaseImage,
    ImagesError,
    ImageSource,
    PullFailed,
    ReplicaFailed,
)
from stagelens_course.images.provision import describe, ensure

__all__ = [
    "LESSON_IMAGES",
    "NAMES",
    "REPLICA_LABEL",
    "BaseImage",
    "ImageSource",
    "ImagesError",
    "PullFailed",
    "ReplicaFailed",
    "describe",
    "ensure",
]
