"""Looking users up in an image's own files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sampan.errdefs import InvalidArgument
from sampan.runtime.user import User, look_up

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# web:x:1:1::/:/bin/sh
broken
web:x:33:34:web:/var/www:/bin/sh
7:x:70:71::/seven:/bin/sh
big:x:99999999999:0::/:/bin/sh
"""
GROUP = "root:x:0:\nweb:x:34:\nadm:x:4:root,web\nlog:x:5:web\n"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(PASSWD)
    (tmp_path / "etc" / "group").write_text(GROUP)
    return tmp_path


@pytest.fixture
def root(image: Path) -> Iterator[int]:
    fd = os.open(image, os.O_PATH)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("spec", "added", "user"),
    [
        ("", (), User(0, 0, (0, 4), "/root")),
        ("web", (), User(33, 34, (34, 4, 5), "/var/www")),
        ("33", (), User(33, 34, (34, 4, 5), "/var/www")),
        ("web:adm", (), User(33, 4, (4,), "/var/www")),
        ("web:77", (), User(33, 77, (77,), "/var/www")),
        ("1234", (), User(1234, 0, (0,), "")),
        ("1234:log", (), User(1234, 5, (5,), "")),
        ("7", (), User(7, 0, (0,), "")),  # digits are a uid, even if a user has that name
        ("web", ("root", "900"), User(33, 34, (34, 4, 5, 0, 900), "/var/www")),
    ],
)
def test_who_a_spec_names(root: int, spec: str, added: Sequence[str], user: User) -> None:
    assert look_up(root, spec, added) == user


@pytest.mark.parametrize(
    ("spec", "added", "message"),
    [
        ("nosuch", (), "unable to find user nosuch: no matching entries in passwd file"),
        ("big", (), "unable to find user big: no matching entries in passwd file"),
        ("web:nosuch", (), "unable to find group nosuch: no matching entries in group file"),
        ("web", ("nosuch",), "unable to find group nosuch: no matching entries in group file"),
        ("2147483648", (), "uids and gids must be in range 0-2147483647"),
        ("-1", (), "uids and gids must be in range 0-2147483647"),
        ("9" * 5000, (), "uids and gids must be in range 0-2147483647"),
    ],
)
def test_who_is_nobody(root: int, spec: str, added: Sequence[str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        look_up(root, spec, added)


def test_an_image_without_files_has_numbers_only(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    try:
        assert look_up(fd, "") == User(0, 0, (0,), "")
        assert look_up(fd, "5:6") == User(5, 6, (6,), "")
    finally:
        os.close(fd)


def test_a_link_out_of_the_image_stays_inside(image: Path, root: int) -> None:
    (image / "etc" / "passwd").unlink()
    (image / "etc" / "passwd").symlink_to("/../../../../../../../../etc/passwd.real")
    (image / "etc" / "passwd.real").write_text("inner:x:9:9::/:/bin/sh\n")
    assert look_up(root, "inner").uid == 9


def test_a_fifo_for_a_file_does_not_hang(image: Path, root: int) -> None:
    (image / "etc" / "passwd").unlink()
    os.mkfifo(image / "etc" / "passwd")
    with pytest.raises(InvalidArgument):
        look_up(root, "web")
