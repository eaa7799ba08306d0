"""Whether all that is kept on the disk is in order: an API of ours."""

from __future__ import annotations

from pydantic import Field

from sampan.models.base import Int64, Model, Request, omitempty


class CheckProblem(Model):
    """One thing that is wrong: `kind` of fault, `name`, `detail` and, after a repair, `action` for people.

    `repaired` says whether it is no problem any more.
    """

    kind: str
    name: str
    detail: str
    action: str = omitempty("")
    repaired: bool = False


class SystemCheck(Model):
    """The answer to system_check: how many things were looked at, and what is wrong with some of them."""

    images: Int64 = 0
    layers: Int64 = 0
    blobs: Int64 = 0
    containers: Int64 = 0
    problems: list[CheckProblem] = Field(default_factory=list)


class CheckSystem(Request):
    """system_check: look, and with `repair` mend what can be mended. With `files` look at every file too."""

    repair: bool = False
    files: bool = False
