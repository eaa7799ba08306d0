"""Credentials for registries, stored where docker stores them: in `config.json`, or in a credential helper.

Sources: docker/cli cli/config (`auths`, `credsStore`, `credHelpers`), docker-credential-helpers (a program with the
actions `get`, `store` and `erase`, and JSON on its standard streams).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from sampan.cli.client.endpoint import config_dir
from sampan.cli.errors import CliError
from sampan.cli.reference import full_name

if TYPE_CHECKING:
    from sampan.cli.command import Options

HUB = "https://index.docker.io/v1/"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_IDENTITY = "<token>"  # the user name under which a helper stores an identity token
_NOT_FOUND = "credentials not found in native keychain"

Auth = dict[str, str]
"""Credentials as in the API: `username` and `password`, or `identitytoken`; and `serveraddress`."""


def server_key(server: str) -> str:
    """The key of a registry's credentials: its host, or Docker Hub's historical URL."""
    host = server.partition("://")[2] or server
    host = host.partition("/")[0]
    return HUB if host in ("", *_HUB_NAMES) else host


def registry_of(reference: str) -> str:
    """The key of the registry in an image reference."""
    return server_key(full_name(reference).partition("/")[0])


def auth_header(auth: Auth) -> dict[str, str]:
    """The request header with `auth`."""
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()}


class Credentials:
    """The credentials in the client's configuration. Raises `CliError` if it can't be read or written."""

    def __init__(self, options: Options) -> None:
        self.path = f"{config_dir(options)}/config.json"
        self._config = self._read()

    def get(self, key: str) -> Auth:
        """The credentials for a registry; only `{"serveraddress": …}` if there are none."""
        helper = self.helper(key)
        found = _from_helper(helper, key) if helper else self._from_file(key)
        return {**found, "serveraddress": key}

    def store(self, key: str, auth: Auth) -> None:
        """Store credentials for a registry."""
        token = auth.get("identitytoken", "")
        if helper := self.helper(key):
            user, secret = (_IDENTITY, token) if token else (auth["username"], auth["password"])
            _ask_helper(helper, "store", json.dumps({"ServerURL": key, "Username": user, "Secret": secret}))
            entry: dict[str, str] = {}
        else:
            pair = f"{auth.get('username', '')}:{'' if token else auth.get('password', '')}"
            entry = {"auth": base64.b64encode(pair.encode()).decode()}
            if token:
                entry["identitytoken"] = token
        self._config.setdefault("auths", {})[key] = entry
        self._write()

    def erase(self, key: str) -> None:
        """Erase the credentials for a registry."""
        if helper := self.helper(key):
            _ask_helper(helper, "erase", key)
        if self._config.get("auths", {}).pop(key, None) is not None:
            self._write()

    def helper(self, key: str) -> str:
        """The helper that stores the credentials for a registry, "" if they are in the file."""
        helpers = self._config.get("credHelpers") or {}
        return str(helpers.get(key) or self._config.get("credsStore") or "")

    def _from_file(self, key: str) -> Auth:
        entry = self._config.get("auths", {}).get(key) or {}
        found = {name: str(entry[name]) for name in ("identitytoken", "registrytoken") if entry.get(name)}
        with contextlib.suppress(ValueError):
            user, colon, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
            if colon:
                found |= {"username": user, "password": password.strip("\0")}
        return found

    def _read(self) -> dict[str, Any]:
        try:
            with open(self.path) as file:  # noqa: PTH123  # pathlib costs 8 ms of start
                config = json.load(file)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CliError(f"error loading config file: {self.path}: {error}") from None
        if not isinstance(config, dict) or not isinstance(config.get("auths") or {}, dict):
            raise CliError(f"error loading config file: {self.path}: it does not contain a JSON object")
        return config

    def _write(self) -> None:
        """Write the file atomically, readable only by its owner."""
        directory, scratch = os.path.dirname(self.path), f"{self.path}.{os.getpid()}"  # noqa: PTH120
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)  # noqa: PTH103
            with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
                json.dump(self._config, file, indent="\t")
            os.replace(scratch, os.path.realpath(self.path))  # noqa: PTH105  # a link is preserved
        except OSError as error:
            raise CliError(f"error saving credentials: {error}") from None


def _from_helper(helper: str, key: str) -> Auth:
    answer = _ask_helper(helper, "get", key)
    if not answer:
        return {}
    try:
        found = json.loads(answer)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError):
        raise CliError(
            f"error getting credentials - docker-credential-{helper} returned an answer that can't be decoded"
        ) from None
    return {"identitytoken": secret} if user == _IDENTITY else {"username": user, "password": secret}


def _ask_helper(helper: str, action: str, question: str) -> str:
    """A helper's output, "" if it has no credentials for the registry."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, action], input=question, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CliError(f"error getting credentials - err: exec: {program}: {error.strerror}") from None
    if done.returncode == 0:
        return done.stdout
    said = (done.stdout or done.stderr).strip()
    if said == _NOT_FOUND:
        return ""
    raise CliError(f"error getting credentials - err: exit status {done.returncode}, out: `{said}`")
