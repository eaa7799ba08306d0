"""Names of images as people write them, and as the API takes them. Source: distribution/reference."""

from __future__ import annotations

_DEFAULT_DOMAINS = ("docker.io/library/", "docker.io/", "index.docker.io/library/", "index.docker.io/")


def split_reference(reference: str) -> tuple[str, str, str]:
    """Name, tag and digest (the latter two perhaps "")."""
    name, _, digest = reference.partition("@")
    head, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return name, "", digest
    return head, tag, digest


def familiar(reference: str) -> str:
    """A reference without what goes without saying: docker.io and library."""
    for domain in _DEFAULT_DOMAINS:
        rest = reference.removeprefix(domain)
        if rest != reference and "/" not in (rest if domain.endswith("library/") else ""):
            return rest
    return reference


def with_default_tag(reference: str) -> str:
    """A reference with `:latest` if it has neither tag nor digest."""
    _, tag, digest = split_reference(reference)
    return reference if tag or digest else f"{reference}:latest"


def check_reference(reference: str) -> None:
    """Raise `ValueError` in docker's words for what can't be the name of an image."""
    name, tag, _ = split_reference(reference)
    plain = name.rpartition("/")[2]
    path = name.partition("/")[2] if "/" in name else name
    if (
        not plain
        or name.startswith(("/", "-", "."))
        or any(letter.isspace() for letter in reference)
        or tag == "" != reference[-1:] == ":"
    ):
        raise ValueError("invalid reference format")
    if path != path.lower():
        raise ValueError(f"invalid reference format: repository name ({name}) must be lowercase")
