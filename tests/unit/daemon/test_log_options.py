"""Log driver options: merging, validation in Docker's words, and meaning."""

from __future__ import annotations

import pytest

from sampan.daemon.container import Record
from sampan.daemon.settings.log_options import check, complete, limits_of
from sampan.daemon.streams.log_details import check_tag, details_of
from sampan.errdefs import InvalidArgument
from sampan.models import ContainerConfig, HostConfig, LogConfig
from sampan.runtime.log_files import LogLimits


def config(kind: str = "json-file", **options: str) -> LogConfig:
    return LogConfig(type=kind, config={name.replace("_", "-"): value for name, value in options.items()})


@pytest.mark.parametrize(
    ("asked", "limits"),
    [
        (config(), LogLimits(10_000_000, 3)),
        (config("local"), LogLimits(20 * 1024 * 1024, 5)),
        (config("none"), LogLimits()),
        (config(max_size="1k"), LogLimits(1000, 1)),
        (config(max_size="1.5MiB", max_file="4"), LogLimits(1_500_000, 4)),
        (config(max_file="7"), LogLimits(10_000_000, 7)),
        (config(max_size="20m", max_file="2", compress="true"), LogLimits(20_000_000, 2)),
    ],
)
def test_limits(asked: LogConfig, limits: LogLimits) -> None:
    check(asked)
    assert limits_of(asked) == limits


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (config("syslog"), "logger: no log driver named 'syslog' is registered"),
        (config(colour="red"), "unknown log opt 'colour' for json-file log driver"),
        (config("local", colour="red"), "unknown log opt 'colour' for log driver local"),
        (config(max_size="abc"), "invalid size: 'abc'"),
        (config(max_size="0"), "max-size must be a positive number"),
        (config(max_size="-1"), "invalid size: '-1'"),
        (config(max_file="x"), 'strconv.Atoi: parsing "x": invalid syntax'),
        (config(max_file="0"), "max-file cannot be less than 1"),
        (config(compress="maybe"), 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        (
            config(max_file="1", compress="true"),
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        (config(mode="fast"), "logger: logging mode not supported: fast"),
        (
            config(max_buffer_size="1m"),
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            config(mode="non-blocking", max_buffer_size="x"),
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
        (config(labels_regex="("), "error parsing regexp: missing closing ): `(`"),
    ],
)
def test_what_is_refused(asked: LogConfig, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check(asked)
    assert str(refused.value) == message


def test_the_daemons_options_are_for_its_own_driver() -> None:
    default = config(max_size="1m", max_file="2")
    assert complete(LogConfig(), default) == default
    assert complete(config(max_size="9m"), default) == config(max_size="9m", max_file="2")
    assert complete(LogConfig(type="local"), default) == config("local")


def record(**options: str) -> Record:
    return Record(
        id="0123456789abcdef" * 4,
        name="boat",
        image_id="sha256:" + "ab" * 32,
        image_name="busybox:test",
        config=ContainerConfig(
            labels={"tier": "a b", "team": "x", "other": "1"}, env=["HOME=/root", "TIER=1", "EMPTY"]
        ),
        host_config=HostConfig(log_config=config(**options)),
        networks={},
        mounts=[],
        args=["echo", "hi"],
    )


@pytest.mark.parametrize(
    ("options", "details"),
    [
        ({}, b" "),
        ({"labels": "tier,absent", "env": "HOME"}, b"HOME=%2Froot,tier=a+b "),
        ({"labels_regex": "^t", "env_regex": "^T"}, b"TIER=1,team=x,tier=a+b "),
        ({"tag": "{{.Name}}/{{ .ID }}"}, b"tag=boat%2F0123456789ab "),
        ({"tag": "{{.ImageName}} {{.Command}} {{.ImageID}}"}, b"tag=busybox%3Atest+echo+hi+abababababab "),
    ],
)
def test_details(options: dict[str, str], details: bytes) -> None:
    assert details_of(record(**options)) == details


@pytest.mark.parametrize("template", ["{{.Nothing}}", "{{if .Name}}", "{{.Name"])
def test_a_tag_that_cannot_be_filled_in_is_refused(template: str) -> None:
    with pytest.raises(InvalidArgument, match="template: log-tag:1"):
        check_tag(template)
