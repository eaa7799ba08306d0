"""Image references as users write them, and as the API expects them. Source: distribution/reference."""

from __future__ import annotations

import re

_DEFAULT_DOMAINS = ("docker.io/", "index.docker.io/")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    r"(?:(?P<domain>(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?)/)?"
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::[\w][\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)


def split_reference(reference: str) -> tuple[str, str, str]:
    """The name, tag and digest of a reference (tag and digest may be "")."""
    name, _, digest = reference.partition("@")
    head, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return name, "", digest
    return head, tag, digest


def familiar(reference: str) -> str:
    """A reference without the default parts: docker.io and library."""
    for domain in _DEFAULT_DOMAINS:
        if reference.startswith(domain):
            path = reference.removeprefix(domain)
            short = path.removeprefix("library/")
            return path if "/" in short else short
    return reference


def full_name(reference: str) -> str:
    """A reference with its registry, by default `docker.io/library/`."""
    short = familiar(reference)
    domain, slash, _ = short.partition("/")
    if slash and _is_domain(domain):
        return short
    return f"docker.io/{short}" if slash else f"docker.io/library/{short}"


def with_default_tag(reference: str) -> str:
    """A reference with `:latest` if it has neither tag nor digest."""
    _, tag, digest = split_reference(reference)
    return reference if tag or digest else f"{reference}:latest"


def check_reference(reference: str) -> None:
    """Raise `ValueError` with docker's message if this can't be the name or ID of an image."""
    if _REFERENCE.fullmatch(reference):
        return
    path = full_name(reference).partition("/")[2].partition(":")[0]
    if path != path.lower():
        raise ValueError(f"invalid reference format: repository name ({path}) must be lowercase")
    raise ValueError("invalid reference format")


def _is_domain(text: str) -> bool:
    """Like the daemon's `is_domain`: a word with a capital letter is also a domain, as repositories have none."""
    return "." in text or ":" in text or text == "localhost" or text.lower() != text
