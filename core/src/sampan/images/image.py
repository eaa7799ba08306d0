"""An image as the daemon knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sampan.digest import Digest


@dataclass(frozen=True)
class Image:
    """An image in the store.

    `id` is the digest of its config, `config` has the fields of it that are used. `references` are the tags
    (`alpine:3`) and `repo_digests` the digests (`alpine@sha256:…`) that refer to it, in familiar form. `layers` are
    chain IDs, of which the last names the snapshot that containers are based on; an empty image has none.
    `size_bytes` is the size of all its layers. `documents` are the manifest and index it was pulled with; times are
    RFC 3339, `tagged_at` is empty if it never had a name here.
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
        """The name of the snapshot with its files; `None` if it has no layers."""
        return self.layers[-1] if self.layers else None

    @property
    def is_dangling(self) -> bool:
        """Whether it has no name."""
        return not self.references and not self.repo_digests
