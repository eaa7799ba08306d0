"""The jobs of images."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from sampan.daemon import filters
from sampan.engine import Job
from sampan.images.reference import Reference, parse_reference
from sampan.images.store import Image
from sampan.models import (
    ImageInspect,
    ImageRemoved,
    ImageSummary,
    ImportImage,
    InspectImage,
    ListImages,
    LoadImages,
    PullImage,
    RemoveImage,
    TagImage,
)

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon
