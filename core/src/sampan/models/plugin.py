"""Installed plugins as `docker plugin ls` shows them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sampan.models.base import Int64, Model, Request, omitempty


class PluginArgs(Model):
    """Arguments of a plugin."""

    name: str = ""
    description: str = ""
    settable: list[str] | None = Field(default_factory=list)
    value: list[str] | None = Field(default_factory=list)


class PluginInterface(Model):
    """What a plugin offers, and over which socket."""

    types: list[str] = Field(default_factory=list)
    socket: str = ""
    protocol_scheme: str = omitempty("")


class PluginUser(Model):
    """Whom a plugin runs as."""

    uid: Int64 = omitempty(0, alias="UID")
    gid: Int64 = omitempty(0, alias="GID")


class PluginNetwork(Model):
    """The network a plugin runs in."""

    type: str = ""


class PluginLinux(Model):
    """What a plugin may do."""

    capabilities: list[str] = Field(default_factory=list)
    allow_all_devices: bool = False
    devices: list[dict[str, Any]] = Field(default_factory=list)


class PluginConfig(Model):
    """How a plugin is made."""

    description: str = ""
    documentation: str = ""
    interface: PluginInterface = Field(default_factory=PluginInterface)
    entrypoint: list[str] = Field(default_factory=list)
    work_dir: str = ""
    user: PluginUser = Field(default_factory=PluginUser)
    network: PluginNetwork = Field(default_factory=PluginNetwork)
    linux: PluginLinux = Field(default_factory=PluginLinux)
    propagated_mount: str = ""
    ipc_host: bool = False
    pid_host: bool = False
    mounts: list[dict[str, Any]] = Field(default_factory=list)
    env: list[dict[str, Any]] = Field(default_factory=list)
    args: PluginArgs = Field(default_factory=PluginArgs)


class PluginSettings(Model):
    """What the user has set."""

    mounts: list[dict[str, Any]] = Field(default_factory=list)
    env: list[str] = Field(default_factory=list)
    args: list[str] = Field(default_factory=list)
    devices: list[dict[str, Any]] = Field(default_factory=list)


class Plugin(Model):
    """One plugin."""

    id: str = omitempty("")
    name: str
    enabled: bool = True
    settings: PluginSettings = Field(default_factory=PluginSettings)
    plugin_reference: str = omitempty("")
    config: PluginConfig = Field(default_factory=PluginConfig)


class InspectPlugin(Request):
    """plugin_inspect; `name` is a package, with its version or without, or the beginning of an id."""

    name: str


class ListPlugins(Request):
    """plugin_list."""

    filters: dict[str, list[str]] = Field(default_factory=dict)
