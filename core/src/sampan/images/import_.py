"""The config of an image created from a bare root file system (moby daemon/images/image_import.go)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sampan.digest import Digest
from sampan.errdefs import InvalidArgument
from sampan.images.changes import apply_changes
from sampan.images.platform import Platform


class ImportConfig:
    """What the importer asked for. Raises `InvalidArgument` for an invalid change, before anything is read."""

    def __init__(self, changes: Sequence[str], message: str, platform: Platform) -> None:
        if platform.os != "linux":
            raise InvalidArgument("operating system is not supported")
        self._config = apply_changes(changes)
        self._message = message
        self._platform = platform

    def document(self, diff_id: Digest) -> bytes:
        """The config of an image with this single layer."""
        created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        variant = {"variant": self._platform.variant} if self._platform.variant else {}
        document: dict[str, Any] = {
            "architecture": self._platform.architecture,
            **variant,
            "os": self._platform.os,
            "created": created,
            "comment": self._message,
            "config": self._config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "comment": self._message}],
        }
        return json.dumps(document).encode()
