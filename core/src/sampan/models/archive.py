"""Files of containers: copied in and out, exported, and what changed."""

from __future__ import annotations

from pydantic import Field

from sampan.models.base import Int64, Model, Request
from sampan.models.container_config import ContainerConfig


class ContainerPathStat(Model):
    """A file of a container, as the header X-Docker-Container-Path-Stat tells of it.

    `mode` is that of Go's io/fs: the permissions and, in bits of its own, what kind of file it is.
    """

    name: str = Field("", alias="name")
    size: Int64 = Field(0, alias="size")
    mode: int = Field(0, alias="mode")
    mtime: str = Field("", alias="mtime")
    link_target: str = Field("", alias="linkTarget")


class FilesystemChange(Model):
    """A path that differs from the image's: 0 modified, 1 added, 2 deleted."""

    path: str = ""
    kind: int = 0


class CommitResponse(Model):
    """The image made."""

    id: str = ""


class StatPath(Request):
    """`path` is as the client wrote it, in any encoding; a slash at its end counts."""

    name: str
    path: bytes


class PackPath(Request):
    """A tar of a path of the container."""

    name: str
    path: bytes


class UnpackArchive(Request):
    """The job's body is unpacked in the directory `path`.

    `copy_uid_gid` gives all of it to the container's user; with `keep_kinds` no directory is replaced by something
    else, and nothing else by a directory.
    """

    name: str
    path: bytes
    copy_uid_gid: bool = False
    keep_kinds: bool = False


class ExportContainer(Request):
    """A tar of all its files but those in its volumes."""

    name: str


class ContainerChanges(Request):
    """How its files differ from its image's."""

    name: str


class CommitContainer(Request):
    """An image of the container: `config`, if given, and `changes` stand in for its own configuration."""

    name: str
    repository: str = ""
    tag: str = ""
    comment: str = ""
    author: str = ""
    pause: bool = True
    changes: list[str] = Field(default_factory=list)
    config: ContainerConfig | None = None
