"""Further processes in a running container."""

from __future__ import annotations

from pydantic import Field

from sampan.models.base import Int64, Model, Request, omitempty, omitnull
from sampan.models.container import TerminalSize
from sampan.models.container_config import Command
from sampan.models.host_config import TwoSizes


class ExecConfig(Model):
    """What to run, as it comes in the body."""

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: TwoSizes | None = omitempty()
    attach_stdin: bool = False
    attach_stderr: bool = False
    attach_stdout: bool = False
    detach_keys: str = ""
    env: list[str] | None = None
    working_dir: str = ""
    cmd: Command | None = None


class CreateExec(ExecConfig):
    """exec_create."""

    container: str


class ExecStartBody(Model):
    """How to start it, as it comes in the body."""

    detach: bool = False
    tty: bool = False
    console_size: TwoSizes | None = omitempty()


class StartExec(Request):
    """exec_start; `console_size` is height and width."""

    id: str
    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None


class ResizeExec(Request):
    """exec_resize."""

    id: str
    height: TerminalSize
    width: TerminalSize


class InspectExec(Request):
    """exec_inspect."""

    id: str


class ExecCreated(Model):
    """The answer to exec_create."""

    id: str


class ExecProcessConfig(Model):
    """What an exec runs."""

    tty: bool = Field(False, alias="tty")
    entrypoint: str = Field("", alias="entrypoint")
    arguments: list[str] = Field(default_factory=list, alias="arguments")
    privileged: bool | None = omitnull(alias="privileged")
    user: str = omitempty("", alias="user")


class ExecInspect(Model):
    """Everything that is known about an exec; `exit_code` is null until it ended."""

    id: str = Field(alias="ID")
    running: bool
    exit_code: Int64 | None = None
    process_config: ExecProcessConfig
    open_stdin: bool = False
    open_stderr: bool = False
    open_stdout: bool = False
    can_remove: bool = False
    container_id: str
    detach_keys: str = ""
    pid: Int64 = 0
