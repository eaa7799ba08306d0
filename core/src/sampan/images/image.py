"""An image as the daemon knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sampan.digest import Digest


@dataclass(frozen=True)
class Image:
    """An image that is here.

    `id` is the digest of its config, `config` what is used of that document. `references` are the tags
    (`alpine:3`) and `repo_digests` the digests (`alpine@sha256:…`) that name it, in familiar form. `layers` are chain
    IDs, of which the last names the snapshot that containers stand on; an image made from nothing has none.
    `size_bytes` counts all its layers. `documents` are the manifest and index it came with; times are RFC 3339,
    `tagged_at` empty for one that never got a name here.
    """

    id: Digest
    config: dict[str, Any]
    references: tuple[str, ...]
    repo_digests: tuple[str, ...]
    layers: tuple[Digest, ...]
    size_bytes: int
    created: str
    tagged_at: str = ""
    documents: tuple[Digest, ...] = ()

    @property
    def snapshot(self) -> str | None:
        """The name of the snapshot that holds its files; `None` if it has none."""
        return self.layers[-1] if self.layers else None

    @property
    def is_dangling(self) -> bool:
        """Whether no name leads to it."""
        return not self.references and not self.repo_digests
