"""The config of an image created from another one with a layer on top (moby daemon/internal/image, NewChildImage)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sampan.digest import Digest

_KEPT = ("architecture", "variant", "os", "os.version", "os.features")


@dataclass(frozen=True)
class Committed:
    """The metadata of a new image; `config` is for containers created from it, with Docker's field names."""

    config: Mapping[str, Any]
    author: str = ""
    comment: str = ""
    created_by: str = ""

    def document(self, parent: Mapping[str, Any], diff_id: Digest | None) -> bytes:
        """The config of an image on top of `parent`, with one more layer unless nothing was changed."""
        created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        said = {"author": self.author, "created_by": self.created_by, "comment": self.comment}
        step: dict[str, Any] = {"created": created, **{name: text for name, text in said.items() if text}}
        if diff_id is None:
            step["empty_layer"] = True
        below = list(parent.get("rootfs", {}).get("diff_ids") or ())
        document = {
            **{name: parent[name] for name in _KEPT if name in parent},
            "created": created,
            "author": self.author,
            "config": dict(self.config),
            "rootfs": {"type": "layers", "diff_ids": [*below, *([diff_id] if diff_id else [])]},
            "history": [*(parent.get("history") or ()), step],
        }
        return json.dumps(document).encode()
