"""Drivers and the packages that they come from: an API of ours."""

from __future__ import annotations

from sampan.models.base import Model, Request


class DriverInfo(Model):
    """A driver. `kind` is storage, network, resource or plugin; `error` says why it was left out."""

    kind: str
    name: str
    distribution: str
    version: str
    entry_point: str = ""
    selected: bool = False
    error: str | None = None


class ListDrivers(Request):
    """driver_list."""
