"""Completes the user's configuration from the image's. Source: moby daemon/commit.go, merge."""

from __future__ import annotations

from sampan.errdefs import InvalidArgument
from sampan.models import ContainerConfig, Healthcheck


def merge(user: ContainerConfig, image: ContainerConfig) -> ContainerConfig:
    """The user's configuration, with the image's values where the user gave none."""
    merged = user.model_copy()
    merged.user = user.user or image.user
    merged.working_dir = user.working_dir or image.working_dir
    merged.stop_signal = user.stop_signal or image.stop_signal
    merged.env = _merge_env(user.env or [], image.env or [])
    merged.labels = {**(image.labels or {}), **(user.labels or {})}
    merged.exposed_ports = {**(image.exposed_ports or {}), **(user.exposed_ports or {})}
    merged.volumes = {**(image.volumes or {}), **(user.volumes or {})} or None
    merged.healthcheck = _merge_healthcheck(user.healthcheck, image.healthcheck)
    if not user.entrypoint:
        merged.cmd = user.cmd or image.cmd
        if user.entrypoint is None:
            merged.entrypoint = image.entrypoint
    if merged.entrypoint == [""]:  # how a client resets the image's entrypoint
        merged.entrypoint = None
    return merged


def command_line(config: ContainerConfig) -> list[str]:
    """Entrypoint and command combined. Raises `InvalidArgument` if there is neither."""
    args = [*(config.entrypoint or []), *(config.cmd or [])]
    if not args:
        raise InvalidArgument("no command specified")
    return args


def _merge_env(over: list[str], under: list[str]) -> list[str]:
    names = {one.partition("=")[0] for one in over}
    return [*over, *(one for one in under if one.partition("=")[0] not in names)]


def _merge_healthcheck(user: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    if user is None or image is None:
        return user or image
    said = {name: value for name, value in user.model_dump().items() if value}
    return image.model_copy(update=said)
