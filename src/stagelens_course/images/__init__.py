"""Base images of the chapter: present on the engine, else pulled, else made here as replicas."""

from stagelens_course.images.errors import ImagesError, PullFailed, ReplicaFailed
from stagelens_course.images.model import LABEL, LESSON_IMAGES, NAMES, BaseImage, ImageSource
from stagelens_course.images.provide import describe, ensure

__all__ = [
    "LABEL",
    "LESSON_IMAGES",
    "NAMES",
    "BaseImage",
    "ImageSource",
    "ImagesError",
    "PullFailed",
    "ReplicaFailed",
    "describe",
    "ensure",
]
