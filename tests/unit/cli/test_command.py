"""The parser: docker's grammar and docker's wording."""

from __future__ import annotations

import pytest

from sampan.cli.command import FILTER, LIST, NUMBER, SWITCH, Command, Flag, check_arity, parse_flags
from sampan.cli.errors import UsageError

FLAGS = (
    Flag("env", "", LIST, "e"),
    Flag("filter", "", FILTER, "f"),
    Flag("interactive", "", SWITCH, "i"),
    Flag("memory", "", NUMBER, "m"),
    Flag("name", ""),
    Flag("publish", "", LIST, "p"),
    Flag("sig-proxy", "", SWITCH, default=True),
    Flag("tty", "", SWITCH, "t"),
)


def test_short_switches_combine_and_the_last_may_take_a_value() -> None:
    options = parse_flags(FLAGS, ["-itm5", "IMAGE"], interspersed=False)
    assert (options.on("interactive"), options.on("tty"), options.number("memory")) == (True, True, 5)


@pytest.mark.parametrize(
    "words", [["-p80:80"], ["-p", "80:80"], ["-p=80:80"], ["--publish=80:80"], ["--publish", "80:80"]]
)
def test_a_value_is_attached_or_the_next_word(words: list[str]) -> None:
    assert parse_flags(FLAGS, words, interspersed=False).texts("publish") == ["80:80"]


def test_flags_behind_the_first_argument_belong_to_the_container() -> None:
    options = parse_flags(FLAGS, ["-i", "IMAGE", "ls", "-t", "--name", "x"], interspersed=False)
    assert options.args == ["IMAGE", "ls", "-t", "--name", "x"]
    assert not options.on("tty")


def test_interspersed_flags_may_follow_arguments_up_to_two_dashes() -> None:
    options = parse_flags(FLAGS, ["a", "-t", "b", "--", "-i", "-"], interspersed=True)
    assert options.args == ["a", "b", "-i", "-"]
    assert options.on("tty")
    assert not options.on("interactive")


def test_a_repeated_flag_collects_and_a_plain_one_takes_the_last() -> None:
    options = parse_flags(FLAGS, ["-e", "A=1", "--env=B", "--name", "x", "--name=y"], interspersed=True)
    assert options.texts("env") == ["A=1", "B"]
    assert options.text("name") == "y"


def test_a_switch_can_be_turned_off() -> None:
    options = parse_flags(FLAGS, ["--sig-proxy=false", "-t=0"], interspersed=True)
    assert not options.on("sig-proxy")
    assert options.changed("tty")
    assert not options.on("tty")


def test_two_parses_share_no_list() -> None:
    parse_flags(FLAGS, ["-e", "A=1"], interspersed=True)
    assert parse_flags(FLAGS, [], interspersed=True).texts("env") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["-ix"], "unknown shorthand flag: 'x' in -ix"),
        (["--name"], "flag needs an argument: --name"),
        (["-im"], "flag needs an argument: 'm' in -im"),
        (["-m", "x"], 'invalid argument "x" for "-m, --memory" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (
            ["--tty=yes"],
            'invalid argument "yes" for "-t, --tty" flag: strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        (["-f", "x"], 'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)'),
    ],
)
def test_a_wrong_command_line_is_refused_in_dockers_words(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_flags(FLAGS, words, interspersed=True)
    assert str(caught.value) == message
    assert caught.value.status == 125


@pytest.mark.parametrize(
    ("least", "most", "count", "message"),
    [
        (0, 0, 1, "'sampan x' accepts no arguments"),
        (1, 1, 0, "'sampan x' requires 1 argument"),
        (2, 2, 1, "'sampan x' requires 2 arguments"),
        (1, None, 0, "'sampan x' requires at least 1 argument"),
        (1, 2, 3, "'sampan x' requires at least 1 and at most 2 arguments"),
    ],
)
def test_a_wrong_number_of_arguments_is_named(least: int, most: int | None, count: int, message: str) -> None:
    command = Command("x", "", lambda *_: None, least=least, most=most)
    with pytest.raises(UsageError) as caught:
        check_arity(command, "sampan x", count)
    assert str(caught.value) == message
    assert caught.value.status == 1
