"""Negotiates the format of a response (`Accept`) where Docker offers a choice."""

from __future__ import annotations

JSON = "application/json"
JSON_LINES = "application/jsonl"
NDJSON = "application/x-ndjson"
JSON_SEQUENCE = "application/json-seq"

STREAM_FORMS = (JSON_LINES, NDJSON, JSON_SEQUENCE)
"""Formats of a stream of JSON objects that a client can request, in order of preference."""

RECORD_SEPARATOR = b"\x1e"
"""The prefix of each object in `application/json-seq` (RFC 7464, section 2.2)."""


def stream_form(accept: str, default: str) -> str:
    """The format with the highest quality in `accept`; `default` if it names none. Wildcards are ignored.

    Source: moby daemon/server/httputils/contenttype, MatchAcceptStrict.
    """
    liked = dict(_read(part) for part in accept.split(","))
    best = max(STREAM_FORMS, key=lambda form: liked.get(form, 0.0))
    return best if liked.get(best, 0.0) > 0 else default


def _read(part: str) -> tuple[str, float]:
    """A media type and its quality, which is 0 if it can't be parsed."""
    kind, *parameters = (text.strip() for text in part.split(";"))
    quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    try:
        return kind.lower(), float(quality)
    except ValueError:
        return kind.lower(), 0.0
