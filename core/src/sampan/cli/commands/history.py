"""`sampan history` and `search`."""

from __future__ import annotations

import time
from typing import Any

from sampan.cli import human
from sampan.cli.client.client import document_of, filters_of
from sampan.cli.command import FILTER, NUMBER, SWITCH, Command, Flag, Options
from sampan.cli.commands.image import image_path
from sampan.cli.commands.ps import timestamp
from sampan.cli.credentials import Credentials, auth_header, registry_of
from sampan.cli.output import ellipsis, print_rows, short_id
from sampan.cli.session import Session

_HISTORY_HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_HISTORY_TABLE = "table {{.ID}}\\t{{.CreatedSince}}\\t{{.CreatedBy}}\\t{{.Size}}\\t{{.Comment}}"
_SEARCH_HEADERS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
_SEARCH_TABLE = "table {{.Name}}\\t{{.Description}}\\t{{.StarCount}}\\t{{.IsOfficial}}"
_WIDTH = 45


def history(session: Session, options: Options) -> None:
    """Print the steps of an image, newest first."""
    template = options.text("format") or "table"
    if options.on("quiet"):
        template = "{{.ID}}"
    steps = session.client.call("GET", f"/images/{image_path(options.args[0])}/history")
    rows = [_step(step, options) for step in steps]
    print_rows(rows, _HISTORY_HEADERS, _HISTORY_TABLE if template == "table" else template)


def _step(step: dict[str, Any], options: Options) -> dict[str, Any]:
    whole, in_words = options.on("no-trunc"), options.on("human")
    by = step["CreatedBy"].replace("\t", " ")
    created = timestamp(step["Created"])
    return {
        "ID": step["Id"] if whole else short_id(step["Id"]),
        "CreatedSince": f"{human.ago(time.time() - step['Created'])} ago" if in_words else created,
        "CreatedAt": created,
        "CreatedBy": by if whole else ellipsis(by, _WIDTH),
        "Size": human.size(step["Size"]) if in_words else str(step["Size"]),
        "Comment": step["Comment"],
    }


def search(session: Session, options: Options) -> None:
    """Print the images found by a registry."""
    term = options.args[0]
    query = {"term": term, "limit": options.number("limit"), "filters": filters_of(options.texts("filter"))}
    auth = Credentials(session.options).get(registry_of(term))
    response = session.client.request("GET", "/images/search", query=query, headers=auth_header(auth))
    hits = document_of(response.read())
    template = options.text("format") or _SEARCH_TABLE
    print_rows([_hit(hit, whole=options.on("no-trunc")) for hit in hits], _SEARCH_HEADERS, template)


def _hit(hit: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    description = " ".join(hit["description"].split())
    return {
        "Name": hit["name"],
        "Description": description if whole else ellipsis(description, _WIDTH),
        "StarCount": str(hit["star_count"]),
        "IsOfficial": "[OK]" if hit["is_official"] else "",
        "IsAutomated": "[OK]" if hit["is_automated"] else "",
    }


HISTORY = Command(
    "history [OPTIONS] IMAGE",
    "Show the history of an image",
    history,
    (
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go template"),
        Flag("human", "Print sizes and dates in human readable format", SWITCH, "H", default=True),
        Flag("no-trunc", "Don't truncate output", SWITCH),
        Flag("quiet", "Only show image IDs", SWITCH, "q"),
    ),
    least=1,
    most=1,
)
SEARCH = Command(
    "search [OPTIONS] TERM",
    "Search a registry for images",
    search,
    (
        Flag("filter", "Filter output based on conditions provided", FILTER, "f"),
        Flag("format", "Format output: table TEMPLATE, json, or a Go template"),
        Flag("limit", "Max number of search results", NUMBER),
        Flag("no-trunc", "Don't truncate output", SWITCH),
    ),
    least=1,
    most=1,
)
