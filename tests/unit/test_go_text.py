import pytest

from sampan.go_text import BINARY, DECIMAL, parse_bool, parse_size


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("t", True), ("TRUE", True), ("0", False), ("F", False), ("False", False)]
)
def test_a_boolean_is_what_go_takes_for_one(text: str, value: bool) -> None:
    assert parse_bool(text) is value


@pytest.mark.parametrize("text", ["", "yes", "tRUE", "2", " 1"])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=f'strconv.ParseBool: parsing "{text}": invalid syntax'):
        parse_bool(text)


# go-units size_test.go, TestFromHumanSize and TestRAMInBytes
@pytest.mark.parametrize(
    ("text", "binary", "decimal"),
    [
        ("32", 32, 32),
        ("32b", 32, 32),
        ("32B", 32, 32),
        ("32k", 32 << 10, 32_000),
        ("32Kb", 32 << 10, 32_000),
        ("32KiB", 32 << 10, 32_000),
        ("32 mib", 32 << 20, 32_000_000),
        ("32G", 32 << 30, 32 * 10**9),
        ("32t", 32 << 40, 32 * 10**12),
        ("32P", 32 << 50, 32 * 10**15),
        ("32.5kB", 33280, 32_500),
        (".5k", 512, 500),
        ("1.k", 1024, 1000),
        ("32 ", 32, 32),
    ],
)
def test_a_size_is_what_go_units_takes_for_one(text: str, binary: int, decimal: int) -> None:
    assert parse_size(text, BINARY) == binary
    assert parse_size(text, DECIMAL) == decimal


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid size: ''"),
        ("9" * 400, "invalid size: '9"),
        ("8192p", "invalid size: '8192p'"),
        ("hello", "invalid size: 'hello'"),
        ("-32", "invalid size: '-32'"),
        ("32.3.3kB", r"invalid size: '32\.3\.3kB'"),
        ("32  b", "invalid size: '32  b'"),
        (" ", "invalid size: ' '"),
        ("32mm", "invalid suffix: 'mm'"),
        ("32kbb", "invalid suffix: 'kbb'"),
        ("32ib", "invalid suffix: 'ib'"),
        ("32E", "invalid suffix: 'e'"),
        ("22.3kibi", "invalid suffix: 'kibi'"),
    ],
)
def test_what_is_no_size_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_size(text)
