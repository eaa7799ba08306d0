"""Headers of every response, as in Docker (moby daemon/server/middleware/version.go)."""

from __future__ import annotations

from sampan import __version__
from sampan.api.versions import NEWEST, text

STANDARD = (
    (b"server", f"Sampan/{__version__} (linux)".encode()),
    (b"api-version", text(NEWEST).encode()),
    (b"docker-experimental", b"false"),
    (b"ostype", b"linux"),
)

STANDARD_LINES = "".join(f"{name.decode().title()}: {value.decode()}\r\n" for name, value in STANDARD)
"""The same as text, for a response head written by hand."""
