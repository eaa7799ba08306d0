"""Names of images: Docker's grammar, and the short forms that users type.

`alpine` means `docker.io/library/alpine:latest`; Docker shows the familiar form again. Grammar, normalisation and
messages: github.com/distribution/reference (regexp.go, normalize.go).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sampan.digest import Digest
from sampan.errdefs import InvalidArgument

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_NAME_MAX = 255

_DOMAIN_PART = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])"
_DOMAIN = rf"{_HOST}(?::[0-9]+)?"
_PATH_PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = f"{_PATH_PART}(?:/{_PATH_PART})*"
_TAG = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE = re.compile(f"(?P<domain>{_DOMAIN})/(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?")
_TAG_GRAMMAR = re.compile(_TAG)
_IDENTIFIER = re.compile("[a-f0-9]{64}")


@dataclass(frozen=True)
class Reference:
    """A repository with a tag, a digest, both, or neither. Its string is the full form."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse `text`, full or familiar. Raises `InvalidArgument` with Docker's message."""
        if _IDENTIFIER.fullmatch(text):
            raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
        domain, remainder = _split_domain(text)
        path = remainder.partition(":")[0]
        if path.lower() != path:
            raise InvalidArgument(f"invalid reference format: repository name ({path}) must be lowercase")
        found = _REFERENCE.fullmatch(f"{domain}/{remainder}")
        if not found:
            raise InvalidArgument("invalid reference format")
        if len(found["path"]) > _NAME_MAX:
            raise InvalidArgument(f"repository name must not be more than {_NAME_MAX} characters")
        digest = Digest(found["digest"]) if found["digest"] else None
        return cls(found["domain"], found["path"], found["tag"], digest)

    @property
    def name(self) -> str:
        """The repository: `docker.io/library/alpine`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as Docker shows it: `alpine`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in short else short

    @property
    def familiar(self) -> str:
        """The whole name as Docker shows it: `alpine:3`."""
        return self.familiar_name + self._suffix

    @property
    def has_name_only(self) -> bool:
        """Whether there is neither a tag nor a digest."""
        return self.tag is None and self.digest is None

    def tagged(self) -> Reference:
        """The same, with the tag `latest` if there is neither tag nor digest."""
        return replace(self, tag=DEFAULT_TAG) if self.has_name_only else self

    def with_tag(self, tag: str) -> Reference:
        """The tag `tag` in the same repository. Raises `InvalidArgument`."""
        if not _TAG_GRAMMAR.fullmatch(tag):
            raise InvalidArgument("invalid tag format")
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The digest `digest` in the same repository."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        return self.name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_id(text: str) -> Digest | None:
    """The image ID that `text` is in full, with or without the algorithm; `None` if it is something else."""
    if _IDENTIFIER.fullmatch(text):
        return Digest(f"sha256:{text}")
    try:
        return Digest(text)
    except InvalidArgument:
        return None


def is_domain(text: str) -> bool:
    """Whether the part of a name before the first slash is a registry, rather than part of a repository's path."""
    return text == "localhost" or "." in text or ":" in text or text.lower() != text


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, _OFFICIAL + text
    if first == _LEGACY_DOMAIN:
        domain, remainder = DEFAULT_DOMAIN, rest
    elif is_domain(first):
        domain, remainder = first, rest
    else:
        domain, remainder = DEFAULT_DOMAIN, text
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder
