"""Which form of an answer a client asks for (`Accept`), where Docker leaves the choice."""

from __future__ import annotations

JSON = "application/json"
JSON_LINES = "application/jsonl"
NDJSON = "application/x-ndjson"
JSON_SEQUENCE = "application/json-seq"

STREAM_FORMS = (JSON_LINES, NDJSON, JSON_SEQUENCE)
"""Forms of a stream of JSON objects that a client can ask for; the first is preferred."""

RECORD_SEPARATOR = b"\x1e"
"""What begins each object of `application/json-seq` (RFC 7464, section 2.2)."""


def stream_form(accept: str, default: str) -> str:
    """The form that `accept` names and likes best; `default` if it names none, wildcards not counted.

    Source: moby daemon/server/httputils/contenttype, MatchAcceptStrict.
    """
    liked = dict(_read(part) for part in accept.split(","))
    best = max(STREAM_FORMS, key=lambda form: liked.get(form, 0.0))
    return best if liked.get(best, 0.0) > 0 else default


def _read(part: str) -> tuple[str, float]:
    """A media type and how much it is liked; what can't be read is not liked at all."""
    kind, *parameters = (text.strip() for text in part.split(";"))
    quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    try:
        return kind.lower(), float(quality)
    except ValueError:
        return kind.lower(), 0.0
