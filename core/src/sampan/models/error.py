"""How the API says that something failed."""

from __future__ import annotations

from pydantic import Field

from sampan.models.base import Model


class ErrorResponse(Model):
    """The body of every answer with a status of 400 or more."""

    message: str = Field(alias="message")
