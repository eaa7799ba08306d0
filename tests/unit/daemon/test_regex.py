"""Regular expressions sent by clients."""

from __future__ import annotations

import pytest

from sampan.daemon.filters import matches_name
from sampan.daemon.regex import Regex


def test_it_is_searched_as_go_does() -> None:
    assert Regex("^web-[0-9]+$").is_found_in("web-17")
    assert not Regex("^web$").is_found_in("web-17")
    assert Regex(r"\pL").is_found_in("ß")  # unsupported by Python's re


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(a", "missing closing ): `(a`"),
        ("[a", "missing closing ]: `[a`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a{2000}", "invalid repeat count: `{2000}`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
    ],
)
def test_what_is_none_is_refused_in_gos_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".*") as refused:
        Regex(text)
    assert str(refused.value) == words


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb"])
def test_text_that_is_no_unicode_is_no_error(text: str) -> None:
    assert not Regex("x").is_found_in(text)
    with pytest.raises(ValueError, match="surrogates"):
        Regex(text)


def test_a_hostile_pattern_takes_no_longer_than_another() -> None:
    """Python's re would backtrack forever here."""
    assert not matches_name({"name": [".*" * 200 + "!"]}, "/" + "a" * 200)


def test_a_name_that_is_no_pattern_matches_itself() -> None:
    assert matches_name({"name": ["we(b"]}, "we(b")
    assert not matches_name({"name": ["we(b"]}, "web")
