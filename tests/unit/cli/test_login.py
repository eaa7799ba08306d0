"""login, logout and push, and which credentials a pull sends."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.cli.credentials import server_key
from tests.unit.cli.conftest import Answer, FakeEngine, Outcome, Request

Run = Callable[..., Outcome]
KEY = "example.com:5000"
HELPER = """#!/bin/sh
# a credential helper that keeps one answer in a file
read -r question
[ -n "$question" ] || question=none
case $1 in
get) cat {store} 2>/dev/null || {{ echo 'credentials not found in native keychain'; exit 1; }} ;;
store) echo "$question" > {store} ;;
erase) rm {store} ;;
esac
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker/config.json"


@pytest.fixture
def helper(tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper on PATH, set for all registries; returns the file holding its only entry."""
    program = tmp_path / "docker-credential-test"
    program.write_text(HELPER.format(store=tmp_path / "kept"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    config.parent.mkdir()
    config.write_text(json.dumps({"credsStore": "test", "psFormat": "x"}))
    return tmp_path / "kept"


def auth_of(request: Request) -> Any:
    return json.loads(base64.urlsafe_b64decode(request.handler.headers["X-Registry-Auth"]))


def accepts(engine: FakeEngine, token: str = "") -> None:
    engine.on("POST", "/auth", {"Status": "Login Succeeded", "IdentityToken": token})


def test_a_login_is_judged_by_the_daemon_and_kept(engine: FakeEngine, sampan: Run, config: Path) -> None:
    accepts(engine)
    done = sampan("login", "-u", "ann", "--password-stdin", KEY, stdin=b"se:cret\n")
    assert (done.status, done.out) == (0, "Login Succeeded\n")
    assert engine.request("POST", "/auth").json == {"username": "ann", "password": "se:cret", "serveraddress": KEY}
    kept = json.loads(config.read_text())
    assert base64.b64decode(kept["auths"][KEY]["auth"]) == b"ann:se:cret"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert "stored unencrypted" in done.err


def test_a_login_that_is_refused_is_not_kept(engine: FakeEngine, sampan: Run, config: Path) -> None:
    engine.on("POST", "/auth", Answer({"message": "unauthorized: incorrect username or password"}, 401))
    done = sampan("login", "-u", "ann", "-p", "wrong", KEY)
    assert done.status == 1
    assert "Error response from daemon: unauthorized: incorrect username or password" in done.err
    assert not config.exists()


def test_an_identity_token_is_kept_instead_of_the_password(engine: FakeEngine, sampan: Run, config: Path) -> None:
    accepts(engine, "identity")
    assert sampan("login", "-u", "ann", "--password-stdin", stdin=b"secret").status == 0
    entry = json.loads(config.read_text())["auths"]["https://index.docker.io/v1/"]
    assert entry["identitytoken"] == "identity"
    assert base64.b64decode(entry["auth"]) == b"ann:"


def test_a_login_keeps_the_other_settings(engine: FakeEngine, sampan: Run, config: Path) -> None:
    accepts(engine)
    config.parent.mkdir()
    config.write_text(json.dumps({"psFormat": "x", "auths": {"other": {"auth": "eDp5"}}}))
    sampan("login", "-u", "ann", "--password-stdin", KEY, stdin=b"secret")
    kept = json.loads(config.read_text())
    assert kept["psFormat"] == "x"
    assert kept["auths"]["other"] == {"auth": "eDp5"}


def test_known_credentials_are_used_again(engine: FakeEngine, sampan: Run, config: Path) -> None:
    accepts(engine)
    sampan("login", "-u", "ann", "--password-stdin", KEY, stdin=b"secret")
    engine.requests.clear()
    done = sampan("login", KEY)
    assert done.out == "Authenticating with existing credentials...\nLogin Succeeded\n"
    assert engine.request("POST", "/auth").json["password"] == "secret"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "x", "--password-stdin"], "--password and --password-stdin are mutually exclusive"),
        (["--password-stdin"], "Must provide --username with --password-stdin"),
        (["-u", "ann"], "Error: Cannot perform an interactive login from a non TTY device"),
    ],
)
def test_a_login_that_lacks_something_is_refused(
    engine: FakeEngine, sampan: Run, config: Path, words: list[str], message: str
) -> None:
    done = sampan("login", *words, KEY, stdin=b"")
    assert done.status == 1
    assert message in done.err
    assert not config.exists()


def test_a_logout_forgets(engine: FakeEngine, sampan: Run, config: Path) -> None:
    accepts(engine)
    sampan("login", "-u", "ann", "--password-stdin", KEY, stdin=b"secret")
    done = sampan("logout", KEY)
    assert (done.status, done.out) == (0, f"Removing login credentials for {KEY}\n")
    assert json.loads(config.read_text())["auths"] == {}
    assert sampan("logout", "never.seen").status == 0


def test_a_helper_keeps_the_secret(engine: FakeEngine, sampan: Run, config: Path, helper: Path) -> None:
    accepts(engine)
    done = sampan("login", "-u", "ann", "--password-stdin", KEY, stdin=b"secret")
    assert "unencrypted" not in done.err
    assert json.loads(helper.read_text()) == {"ServerURL": KEY, "Username": "ann", "Secret": "secret"}
    assert json.loads(config.read_text()) == {"credsStore": "test", "psFormat": "x", "auths": {KEY: {}}}
    engine.on("POST", "/images/create", Answer(b""))
    sampan("pull", f"{KEY}/app:1")
    asked = auth_of(engine.request("POST", "/images/create"))
    assert asked == {"username": "ann", "password": "secret", "serveraddress": KEY}
    sampan("logout", KEY)
    assert not helper.exists()


def test_a_helper_that_holds_an_identity_token(engine: FakeEngine, sampan: Run, helper: Path) -> None:
    helper.write_text(json.dumps({"ServerURL": KEY, "Username": "<token>", "Secret": "identity"}))
    engine.on("POST", "/images/create", Answer(b""))
    sampan("pull", f"{KEY}/app:1")
    assert auth_of(engine.request("POST", "/images/create")) == {"identitytoken": "identity", "serveraddress": KEY}


def test_a_helper_that_is_not_there_is_told_of(engine: FakeEngine, sampan: Run, config: Path) -> None:
    config.parent.mkdir()
    config.write_text(json.dumps({"credHelpers": {KEY: "nowhere"}}))
    done = sampan("pull", f"{KEY}/app:1")
    assert done.status == 1
    assert "docker-credential-nowhere" in done.err
    engine.on("POST", "/images/create", Answer(b""))
    assert sampan("pull", "example.org/app:1").status == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"auths": 5}'])
def test_a_config_that_can_not_be_read_is_told_of(sampan: Run, config: Path, content: str) -> None:
    config.parent.mkdir()
    config.write_text(content)
    done = sampan("pull", f"{KEY}/app:1")
    assert done.status == 1
    assert "error loading config file" in done.err


@pytest.mark.parametrize(
    ("words", "path", "tag"),
    [
        (["example.com/app:1"], "/images/example.com/app/push", ["1"]),
        (["app"], "/images/app/push", ["latest"]),
        (["-a", "app"], "/images/app/push", None),
    ],
)
def test_push_names_the_tag(
    engine: FakeEngine, sampan: Run, config: Path, words: list[str], path: str, tag: list[str] | None
) -> None:
    items = [{"status": "1: digest: x size: 2"}, {"progressDetail": {}, "aux": {"Tag": "1"}}]
    engine.on("POST", path, Answer(b"".join(json.dumps(item).encode() + b"\r\n" for item in items)))
    done = sampan("push", *words)
    assert done.status == 0, done.err
    assert done.out.endswith("1: digest: x size: 2\n")
    assert engine.request("POST", path).query.get("tag") == tag


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["app@sha256:" + "a" * 64], "cannot push a digest reference"),
        (["-a", "app:1"], "tag can't be used with --all-tags/-a"),
        (["App"], "invalid reference format"),
    ],
)
def test_a_push_that_makes_no_sense_is_refused(sampan: Run, config: Path, words: list[str], message: str) -> None:
    done = sampan("push", *words)
    assert done.status == 1
    assert message in done.err


def test_docker_hub_has_a_historical_name() -> None:
    assert {server_key(name) for name in ("", "docker.io", "https://index.docker.io/v1/")} == {
        "https://index.docker.io/v1/"
    }
    assert server_key("https://example.com:5000/v2/") == KEY
