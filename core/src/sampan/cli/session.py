"""The context of every command: the daemon's address, a client for it, and the standard streams."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sampan.cli.terminal import STDERR, STDOUT, write_text

if TYPE_CHECKING:
    from sampan.cli.client.client import Client
    from sampan.cli.command import Options

PROGRAM = "sampan"
DEFAULT_HOST = "unix:///run/sampan/sampan.sock"


class Session:
    """One run of the program: the global flags and the (lazily created) client."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._client: Client | None = None

    @property
    def host(self) -> str:
        """The daemon's address: `-H`, then SAMPAN_HOST, then DOCKER_HOST, then our own socket."""
        given = self.options.texts("host")
        return (
            (given[-1] if given else "")
            or os.environ.get("SAMPAN_HOST")
            or os.environ.get("DOCKER_HOST")
            or DEFAULT_HOST
        )

    @property
    def client(self) -> Client:
        """The client for the daemon; nothing is sent before its first request."""
        if self._client is None:
            from sampan.cli.client.client import Client
            from sampan.cli.client.endpoint import endpoint

            self._client = Client(endpoint(self.host, self.options))
        return self._client

    def setting(self, name: str) -> str:
        """A text setting of the client's config.json (`detachKeys`, `psFormat`, …), "" if it is not set."""
        import json

        from sampan.cli.client.endpoint import config_dir

        try:
            with open(f"{config_dir(self.options)}/config.json") as file:  # noqa: PTH123  # pathlib costs 8 ms of start
                return str(json.load(file).get(name) or "")
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, AttributeError) as error:
            self.warn(f"WARNING: Error loading config file: {error}")
            return ""

    def say(self, text: str) -> None:
        """Print a line to stdout."""
        write_text(STDOUT, f"{text}\n")

    def warn(self, text: str) -> None:
        """Print a line to stderr."""
        write_text(STDERR, f"{text}\n")
