"""A container's configuration: what it runs. Images carry one too."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from sampan.models.base import Int64, Model, omitempty, omitnull


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _emptied(_: dict[str, Any]) -> dict[str, Any]:
    return {}


Nothing = Annotated[dict[str, Any], AfterValidator(_emptied)]
"""Go's `struct{}`: whatever a client or an image puts into it is forgotten."""

Command = Annotated[list[str], BeforeValidator(_as_list)]
"""A command line; a single string is taken as its only word, as Docker does."""


class Healthcheck(Model):
    """How to see whether a container is healthy. Times are nanoseconds."""

    test: list[str] | None = omitempty()
    interval: Int64 = omitempty(0)
    timeout: Int64 = omitempty(0)
    start_period: Int64 = omitempty(0)
    start_interval: Int64 = omitempty(0)
    retries: Int64 = omitempty(0)


class ImageConfig(Model):
    """What an image says of the containers made of it: only what it does say."""

    user: str = omitempty("")
    exposed_ports: dict[str, Nothing] | None = omitempty()
    env: list[str] | None = omitempty()
    entrypoint: Command | None = omitempty()
    cmd: Command | None = omitempty()
    volumes: dict[str, Nothing] | None = omitempty()
    working_dir: str = omitempty("")
    labels: dict[str, str] | None = omitempty()
    stop_signal: str = omitempty("")
    args_escaped: bool = omitempty(False)
    healthcheck: Healthcheck | None = omitempty()
    on_build: list[str] | None = omitempty()
    shell: list[str] | None = omitempty()


class ContainerConfig(ImageConfig):
    """What a container runs, whatever the host. It says all its fields, set or not."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: Command | None = None
    image: str = ""
    volumes: dict[str, Nothing] | None = None
    working_dir: str = ""
    entrypoint: Command | None = None
    network_disabled: bool = omitempty(False)
    mac_address: str = omitempty("")
    labels: dict[str, str] | None = None
    stop_timeout: Int64 | None = omitnull()
