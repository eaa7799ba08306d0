"""How an image was built, according to its config (OCI image-spec config.md, `history`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sampan.images.image import Image
from sampan.images.layer_maker import Layer


@dataclass(frozen=True)
class Step:
    """One step; `size_bytes` is the size of its layer's files, 0 if it has no layer. `created` is RFC 3339."""

    created: str
    created_by: str
    comment: str
    size_bytes: int


def steps(image: Image, layers: Sequence[Layer]) -> list[Step]:
    """The steps of an image, newest first. If there are more steps than layers, the excess ones have no size."""
    sizes = iter([layer.size_bytes for layer in layers])
    told = image.config.get("history", ())
    made = [_step(entry, 0 if entry.get("empty_layer") else next(sizes, 0)) for entry in told]
    return made[::-1]


def _step(entry: dict[str, Any], size_bytes: int) -> Step:
    created, by, comment = (entry.get(name, "") for name in ("created", "created_by", "comment"))
    return Step(created, by, comment, size_bytes)
