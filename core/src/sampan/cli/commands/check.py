"""`sampan system check`: checks that everything on disk is intact; not a docker command."""

from __future__ import annotations

import json
from typing import Any

from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.output import print_rows
from sampan.cli.session import Session

HEADERS = {"Kind": "KIND", "Name": "NAME", "Detail": "PROBLEM", "Action": "ACTION", "Repaired": "REPAIRED"}
_TABLE = "table {{.Kind}}\\t{{.Name}}\\t{{.Detail}}"
_REPAIRED = _TABLE + "\\t{{.Repaired}}\\t{{.Action}}"


def check(session: Session, options: Options) -> int:
    """Print the problems found; the exit status is 1 if any is not repaired."""
    repair = options.on("repair")
    query = {"files": "1"} if options.on("files") else {}
    answer = session.client.call("POST" if repair else "GET", "/system/check", query=query)
    problems = answer["Problems"]
    template = options.text("format") or "table"
    if template == "json":
        session.say(json.dumps(answer))
    elif problems or template != "table":
        table = _REPAIRED if repair else _TABLE
        print_rows([_row(one) for one in problems], HEADERS, table if template == "table" else template)
    else:
        counted = (_counted(answer, kind) for kind in ("Images", "Layers", "Blobs", "Containers"))
        session.say(f"No problems in {', '.join(counted)}")
    return int(any(not one["Repaired"] for one in problems))


def _counted(answer: dict[str, Any], kind: str) -> str:
    noun = kind.lower() if answer[kind] != 1 else kind.lower().removesuffix("s")
    return f"{answer[kind]} {noun}"


def _row(problem: dict[str, Any]) -> dict[str, Any]:
    repaired = "yes" if problem["Repaired"] else "no"
    return {**problem, "Action": problem.get("Action") or "", "Repaired": repaired}


CHECK = Command(
    "check [OPTIONS]",
    "Check that images, layers and containers on the disk are intact",
    check,
    (
        Flag("files", "Compare the files of layers with their blobs: each is unpacked for that", SWITCH),
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go template"),
        Flag("repair", "Repair what can be repaired: remove stray files, rebuild lost ones", SWITCH),
    ),
)
