"""Digests: `algorithm:hex`, checked before any use in a path or a URL.

Source: OCI image-spec descriptor.md, section Digests. The grammar there is wider; only registered algorithms
are accepted here, as an unchecked digest is a path traversal (CVE-2024-3727).
"""

from __future__ import annotations

import hashlib
import re

from sampan.errdefs import InvalidArgument

_GRAMMAR = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})")


class Digest(str):
    """A checked digest. Raises `InvalidArgument` for any other text."""

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        if not _GRAMMAR.fullmatch(text):
            raise InvalidArgument(f"invalid checksum digest format: {text[:200]!r}")
        return super().__new__(cls, text)

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The digits after the colon."""
        return self.partition(":")[2]

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The sha256 digest of `content`."""
        return cls(f"sha256:{hashlib.sha256(content).hexdigest()}")


def chain_id_on(parent: Digest | None, diff_id: Digest) -> Digest:
    """The chain ID of a layer on top of the stack `parent` (OCI image-spec config.md, Layer ChainID)."""
    return Digest.of(f"{parent} {diff_id}".encode()) if parent else diff_id


def chain_ids(diff_ids: list[Digest]) -> list[Digest]:
    """The chain ID of each stack of layers, lowest first."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(chain_id_on(chain[-1] if chain else None, diff_id))
    return chain
