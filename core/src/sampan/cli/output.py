"""Formats lists as tables, JSON lines or by a template, and documents by a template or as JSON."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from sampan.cli.errors import CliError
from sampan.cli.template import Template, TemplateError
from sampan.cli.template.functions import FUNCTIONS, HEADER_FUNCTIONS
from sampan.cli.terminal import STDOUT, write_text

_LEAST_WIDTH = 10
_PADDING = 3

Row = Mapping[str, Any]


def print_rows(rows: Iterable[Row], headers: Mapping[str, Any], template: str) -> None:
    """Print a list formatted by `template`, see `rows_text`."""
    write_text(STDOUT, rows_text(rows, headers, template))


def rows_text(rows: Iterable[Row], headers: Mapping[str, Any], template: str) -> str:
    """Format a list by `template`: `json`, `table COLUMNS`, or a template applied to each row.

    `headers` are the column titles by field. Callable fields are methods (`.Label "x"`). Raises `CliError`.
    """
    try:
        if template == "json":
            return "".join(map(_json_line, rows))
        if template.startswith("table"):
            return _table(rows, headers, Template(_unescape(template.removeprefix("table"))))
        parsed = Template(_unescape(template))
        return "".join(parsed.render(row) + "\n" for row in rows)
    except TemplateError as error:
        raise CliError(f"template parsing error: template: {error}") from None


def _unescape(template: str) -> str:
    return template.strip(" ").replace("\\t", "\t").replace("\\n", "\n")


def _json_line(row: Row) -> str:
    plain = {name: value for name, value in sorted(row.items()) if not callable(value)}
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False) + "\n"


def _table(rows: Iterable[Row], headers: Mapping[str, Any], template: Template) -> str:
    titles = {**headers, "Label": lambda name: name.rpartition(".")[2].replace("-", " ").replace("_", " ")}
    lines = [template.render(titles, HEADER_FUNCTIONS), *(template.render(row) for row in rows)]
    return aligned("\n".join(lines)) + "\n"


def aligned(text: str, *, least: int = _LEAST_WIDTH) -> str:
    """Align tab-separated columns with spaces, to a width of at least `least`; the last cell is not padded."""
    table = [line.split("\t") for line in text.split("\n")]
    widths: dict[int, int] = {}
    for cells in table:
        for at, cell in enumerate(cells[:-1]):
            widths[at] = max(widths.get(at, least), _width(cell) + _PADDING)
    return "\n".join(
        "".join(cell + " " * (widths[at] - _width(cell)) for at, cell in enumerate(cells[:-1])) + cells[-1]
        for cells in table
    )


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def checked_template(template: str) -> Template:
    """Parse a template; `json` means the whole document. Raises `CliError` with docker's status 64."""
    try:
        return Template("{{json .}}" if template == "json" else template)
    except TemplateError as error:
        raise CliError(f"template parsing error: template: {error}", 64) from None


def render(template: str, document: Any) -> str:
    """Format one document by a template, or as compact JSON for `json`. Raises `CliError`."""
    try:
        return checked_template(template).render(document, FUNCTIONS)
    except TemplateError as error:
        raise CliError(f"template parsing error: template: {error}") from None


def ellipsis(text: str, width: int) -> str:
    """`text`, truncated to `width` with an ellipsis if it is longer."""
    return text if len(text) <= width else text[: width - 1] + "…"


def short_id(identity: str) -> str:
    """The usual short form of an ID, with twelve digits."""
    return identity.rpartition(":")[2][:12]


def joined_labels(labels: Mapping[str, str] | None) -> str:
    """Labels as `a=b,c=d`."""
    return ",".join(sorted(f"{name}={value}" for name, value in (labels or {}).items()))
