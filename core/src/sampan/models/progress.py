"""An item of a streamed answer (pull, load, import)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sampan.models.base import Int64, Model, omitempty, omitnull


class ProgressDetail(Model):
    """How far it is, in bytes unless `units` says otherwise."""

    current: Int64 = omitempty(0, alias="current")
    total: Int64 = omitempty(0, alias="total")
    start: Int64 = omitempty(0, alias="start")
    hide_counts: bool = omitempty(False, alias="hidecounts")
    units: str = omitempty("", alias="units")


class ErrorDetail(Model):
    """An error after the answer had begun."""

    code: Int64 = omitempty(0, alias="code")
    message: str = Field("", alias="message")


class Progress(Model):
    """One line: a status of a layer, a line of text, or the error that ended it."""

    stream: str = omitempty("", alias="stream")
    status: str = omitempty("", alias="status")
    progress_detail: ProgressDetail | None = omitnull(alias="progressDetail")
    progress: str = omitempty("", alias="progress")
    id: str = omitempty("", alias="id")
    error: str = omitempty("", alias="error")
    error_detail: ErrorDetail | None = omitempty(alias="errorDetail")
    aux: Any = omitempty(alias="aux")
