"""Security options as Docker reads them."""

from __future__ import annotations

import pytest

from sampan.daemon.settings.security import SecurityOptions
from sampan.errdefs import InvalidArgument


def test_without_options_the_defaults_hold() -> None:
    options = SecurityOptions(())
    assert (options.no_new_privileges, options.seccomp, options.apparmor) == (False, "default", "")
    assert (options.writable_cgroups, options.system_paths) == (None, True)


@pytest.mark.parametrize(
    ("option", "attribute", "value"),
    [
        ("no-new-privileges", "no_new_privileges", True),
        ("no-new-privileges=true", "no_new_privileges", True),
        ("no-new-privileges:1", "no_new_privileges", True),
        ("no-new-privileges=F", "no_new_privileges", False),
        ("writable-cgroups", "writable_cgroups", True),
        ("writable-cgroups=false", "writable_cgroups", False),
        ("seccomp=unconfined", "seccomp", "unconfined"),
        ("seccomp=builtin", "seccomp", "default"),
        ("seccomp={}", "seccomp", "{}"),
        ("apparmor=mine", "apparmor", "mine"),
        ("apparmor:unconfined", "apparmor", "unconfined"),
        ("systempaths=unconfined", "system_paths", False),
        ("label=disable", "seccomp", "default"),
        ("disable", "seccomp", "default"),
    ],
)
def test_an_option(option: str, attribute: str, value: object) -> None:
    assert getattr(SecurityOptions((option,)), attribute) == value


@pytest.mark.parametrize(
    ("option", "number"),
    [
        ("", 1),
        ("seccomp", 1),
        ("label", 1),
        ("mask=/proc", 2),
        ("no-new-privileges=yes", 2),
        ("systempaths=all", 2),
    ],
)
def test_what_is_no_option(option: str, number: int) -> None:
    with pytest.raises(InvalidArgument, match=f'invalid --security-opt {number}: "{option}"'):
        SecurityOptions((option,))
