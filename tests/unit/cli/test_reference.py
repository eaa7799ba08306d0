"""Image names: the client refuses what the daemon would, in the same words."""

import pytest

from sampan.cli.reference import check_reference, familiar, full_name
from sampan.errdefs import InvalidArgument
from sampan.images.reference import Reference

DIGEST = "sha256:" + "a" * 64
GOOD = [
    "busybox",
    "busybox:1",
    f"busybox@{DIGEST}",
    f"busybox:1@{DIGEST}",
    "team/app:v1.2-rc.1",
    "localhost/app",
    "localhost:5000/team/app",
    "registry.example.com/a/b__c--d:_x",
    "[::1]:5000/app",
    "Harbour/app",
    "docker.io/busybox",
    "index.docker.io/team/app:2",
]
BAD = ["Busybox", "team/App", "registry.example.com/App", "a//b", "a:", "a:.x", "-a", "a b", "a@sha256:1", "a/-b", ""]


@pytest.mark.parametrize("text", GOOD)
def test_a_good_name_is_the_daemons(text: str) -> None:
    check_reference(text)
    reference = Reference.parse(text)
    assert (full_name(text), familiar(text)) == (str(reference), reference.familiar)


@pytest.mark.parametrize("text", BAD)
def test_a_bad_name_is_refused_in_the_daemons_words(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Reference.parse(text)
    with pytest.raises(ValueError, match=r"^invalid reference format") as refused_here:
        check_reference(text)
    assert str(refused_here.value) == str(refused.value)
