"""`sampan login` and `logout`."""

from __future__ import annotations

import sys
from typing import Any

from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.credentials import Auth, Credentials, server_key
from sampan.cli.errors import CliError, DaemonError
from sampan.cli.session import Session
from sampan.cli.terminal import STDIN, is_terminal

_SECRET_BYTES_MAX = 64 << 10


def login(session: Session, options: Options) -> None:
    """Have a registry check credentials, and store them."""
    _check_flags(options)
    credentials = Credentials(session.options)
    key = server_key(options.args[0] if options.args else "")
    known = credentials.get(key)
    if _has_secret(known) and not (options.text("username") or _secret_given(options)):
        session.say("Authenticating with existing credentials...")
        try:
            return _finish(session, credentials, key, known)
        except DaemonError as error:
            session.warn(f"Login did not succeed, error: {error}")
    auth = _ask(session, options, key, known.get("username", ""))
    return _finish(session, credentials, key, auth)


def _check_flags(options: Options) -> None:
    if options.text("password") and options.on("password-stdin"):
        raise CliError("--password and --password-stdin are mutually exclusive")
    if options.on("password-stdin") and not options.text("username"):
        raise CliError("Must provide --username with --password-stdin")


def _secret_given(options: Options) -> bool:
    return bool(options.text("password")) or options.on("password-stdin")


def _has_secret(auth: Auth) -> bool:
    return bool(auth.get("password") or auth.get("identitytoken"))


def _ask(session: Session, options: Options, key: str, default_user: str) -> Auth:
    """The credentials from the flags, stdin or the terminal."""
    user, password = options.text("username"), options.text("password")
    if password:
        session.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if options.on("password-stdin"):
        password = sys.stdin.read(_SECRET_BYTES_MAX).rstrip("\r\n")
    if not (user and password):
        user, password = _prompt(user, password, default_user)
    return {"username": user, "password": password, "serveraddress": key}


def _prompt(user: str, password: str, default_user: str) -> tuple[str, str]:
    if not is_terminal(STDIN):
        raise CliError("Error: Cannot perform an interactive login from a non TTY device")
    from getpass import getpass

    if not user:
        user = input(f"Username ({default_user}): " if default_user else "Username: ").strip() or default_user
    if not user:
        raise CliError("username is required")
    password = password or getpass("Password: ")
    if not password:
        raise CliError("password is required")
    return user, password


def _finish(session: Session, credentials: Credentials, key: str, auth: Auth) -> None:
    answer: dict[str, Any] = session.client.call("POST", "/auth", body=auth) or {}
    if token := answer.get("IdentityToken"):
        auth = {**auth, "password": "", "identitytoken": str(token)}
    if not credentials.helper(key):
        session.warn(
            f"WARNING! Your credentials are stored unencrypted in '{credentials.path}'.\n"
            "Configure a credential helper to remove this warning."
        )
    credentials.store(key, auth)
    session.say(str(answer.get("Status") or "Login Succeeded"))


def logout(session: Session, options: Options) -> None:
    """Erase the credentials for a registry."""
    key = server_key(options.args[0] if options.args else "")
    session.say(f"Removing login credentials for {key}")
    Credentials(session.options).erase(key)


LOGIN = Command(
    "login [OPTIONS] [SERVER]",
    "Authenticate to a registry",
    login,
    (
        Flag("password", "Password or Personal Access Token (PAT)", short="p"),
        Flag("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin", SWITCH),
        Flag("username", "Username", short="u"),
    ),
    most=1,
)
LOGOUT = Command("logout [SERVER]", "Log out from a registry", logout, most=1)
