"""Base images of the chapter: present on the engine, else pulled, else made here as replicas."""

from stagelens.images.errors import ImagesError, PullFailed, ReplicaFailed
from stagelens.images.model import LABEL, LESSON_IMAGES, NAMES, BaseImage, ImageSource
from stagelens.images.provide import describe, ensure

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
