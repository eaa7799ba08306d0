"""The versions of the Docker Engine API that are spoken."""

from __future__ import annotations

OLDEST_API, NEWEST_API = "1.24", "1.56"
