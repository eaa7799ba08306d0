import base64
import time

import pytest

from sampan.api.params import read_auth, read_filters, read_platform, read_tail, read_time
from sampan.errdefs import InvalidArgument


def test_filters_of_old_and_new_clients_are_read_alike() -> None:
    new = read_filters('{"label": ["a=b"], "status": ["running"]}')
    assert new == read_filters('{"label": {"a=b": true, "c": false}, "status": {"running": true}}')
    assert read_filters("") == {}


@pytest.mark.parametrize("text", ["x", "[]", '{"a": 1}', '{"a": [1]}', "[" * 100_000])
def test_filters_that_make_no_sense_are_an_error(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid filter"):
        read_filters(text)


def test_times_keep_their_nanoseconds() -> None:
    assert read_time("since", "1795472221.123456789") == 1795472221123456789
    assert read_time("since", "1795472221.5") == 1795472221500000000
    assert read_time("since", "1795472221") == 1795472221000000000
    assert read_time("since", "2026-11-23T22:17:01Z") == 1795472221000000000
    assert read_time("since", "2026-11-23T23:17:01.25+01:00") == 1795472221250000000
    assert read_time("since", "") is read_time("since", "0") is None


def test_a_duration_is_that_long_ago() -> None:
    ago = read_time("since", "1h2m3.5s")
    assert ago is not None
    assert abs(time.time_ns() - 3723_500_000_000 - ago) < 1_000_000_000


@pytest.mark.parametrize(
    "text", ["tomorrow", "1.2.3", "9" * 40, "-", "1x", "²", "infs", "nanm", "1e400h", "1e3s", "-5m", "h", "1h2"]
)
def test_times_that_make_no_sense_are_an_error(text: str) -> None:
    with pytest.raises(InvalidArgument, match='invalid value for "since"'):
        read_time("since", text)


def test_tail_is_a_number_of_lines_or_all() -> None:
    assert (read_tail("10"), read_tail("all"), read_tail(""), read_tail("-1")) == (10, None, None, None)


def test_auth_is_json_in_urlsafe_base64_with_or_without_padding() -> None:
    encoded = base64.urlsafe_b64encode(b'{"username": "me", "password": "??>>"}').decode()
    for text in (encoded, encoded.rstrip("=")):
        auth = read_auth(text)
        assert auth is not None
        assert (auth.username, auth.password) == ("me", "??>>")
    assert read_auth(None) is read_auth("not base64!") is read_auth("") is None


def test_a_platform_is_text_or_json() -> None:
    assert read_platform("linux/arm64") == "linux/arm64"
    assert read_platform('{"os": "linux", "architecture": "arm", "variant": "v7"}') == "linux/arm/v7"
    assert read_platform("") is None
    with pytest.raises(InvalidArgument):
        read_platform('{"os": "linux"}')
