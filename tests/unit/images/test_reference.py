import pytest

from sampan.digest import Digest
from sampan.errdefs import InvalidArgument
from sampan.images.reference import Reference, parse_id

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine", "alpine"),
        ("alpine:3", "docker.io/library/alpine:3", "alpine:3"),
        ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
        ("index.docker.io/alpine", "docker.io/library/alpine", "alpine"),
        ("me/app", "docker.io/me/app", "me/app"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
        ("example.com/a/b__c/d--e:V_1.x-y", "example.com/a/b__c/d--e:V_1.x-y", "example.com/a/b__c/d--e:V_1.x-y"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("UPPER/app", "UPPER/app", "UPPER/app"),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}", f"alpine@{DIGEST}"),
        (f"alpine:3@{DIGEST}", f"docker.io/library/alpine:3@{DIGEST}", f"alpine:3@{DIGEST}"),
    ],
)
def test_a_name_is_normalised_and_made_familiar_again(text: str, full: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    assert Reference.parse(full) == reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Alpine", "invalid reference format: repository name (library/Alpine) must be lowercase"),
        ("me/App:1", "invalid reference format: repository name (me/App) must be lowercase"),
        ("", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a/../b", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a:" + "t" * 129, "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("a@sha256:12", "invalid reference format"),
        ("http://example.com/a", "invalid reference format"),
        ("ab" * 32, f"invalid repository name ({'ab' * 32}), cannot specify 64-byte hexadecimal strings"),
        ("a/" + "b" * 256, "repository name must not be more than 255 characters"),
    ],
)
def test_a_bad_name_is_refused_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Reference.parse(text)
    assert str(refused.value) == message


def test_the_tag_latest_is_added_only_where_nothing_is_said() -> None:
    assert Reference.parse("a").tagged().tag == "latest"
    assert Reference.parse("a:1").tagged().tag == "1"
    assert Reference.parse(f"a@{DIGEST}").tagged().tag is None


def test_a_tag_replaces_a_digest_and_the_other_way_round() -> None:
    reference = Reference.parse("a:1")
    assert reference.with_digest(Digest(DIGEST)).familiar == f"a@{DIGEST}"
    assert reference.with_digest(Digest(DIGEST)).with_tag("2").familiar == "a:2"
    with pytest.raises(InvalidArgument, match="invalid tag format"):
        reference.with_tag("a b")


def test_an_id_is_recognised_with_and_without_its_algorithm() -> None:
    assert parse_id("ab" * 32) == DIGEST
    assert parse_id(DIGEST) == DIGEST
    assert parse_id("abab") is None
    assert parse_id("alpine") is None
