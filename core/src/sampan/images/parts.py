"""The parts of the image store, for code that works on all of them."""

from __future__ import annotations

from dataclasses import dataclass

from sampan.drivers import StorageDriver
from sampan.images.content import ContentStore
from sampan.images.garbage import Garbage
from sampan.images.index import ImageIndex
from sampan.images.layers import Layers
from sampan.images.leases import Leases


@dataclass(frozen=True)
class StoreParts:
    """The parts of one store."""

    storage: StorageDriver
    content: ContentStore
    layers: Layers
    index: ImageIndex
    leases: Leases
    garbage: Garbage
