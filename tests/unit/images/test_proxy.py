"""Proxies configured in the environment."""

import pytest
from yarl import URL

from sampan.images.proxy import proxy_of

PROXIES = {"HTTP_PROXY": "http://plain:1", "https_proxy": "tls:2"}


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("http://example.com/", {}, None),
        ("http://example.com/", PROXIES, "http://plain:1"),
        ("https://example.com/", PROXIES, "http://tls:2"),
        ("http://localhost:5000/", PROXIES, None),
        ("http://127.0.0.9/", PROXIES, None),
        ("http://[::1]:5000/", PROXIES, None),
        ("http://example.com/", PROXIES | {"NO_PROXY": "*"}, None),
        ("http://example.com/", PROXIES | {"NO_PROXY": "other.com, example.com"}, None),
        ("http://a.example.com/", PROXIES | {"no_proxy": "example.com"}, None),
        ("http://a.example.com/", PROXIES | {"no_proxy": ".example.com"}, None),
        ("http://example.com/", PROXIES | {"no_proxy": ".example.com"}, "http://plain:1"),
        ("http://badexample.com/", PROXIES | {"no_proxy": "example.com"}, "http://plain:1"),
        ("http://example.com:81/", PROXIES | {"no_proxy": "example.com:80"}, "http://plain:1"),
        ("http://example.com:80/", PROXIES | {"no_proxy": "example.com:80"}, None),
        ("http://10.1.2.3/", PROXIES | {"no_proxy": "10.0.0.0/8"}, None),
        ("http://11.1.2.3/", PROXIES | {"no_proxy": "10.0.0.0/8,"}, "http://plain:1"),
    ],
)
def test_the_environment_says_which_proxy_a_url_takes(
    url: str, environment: dict[str, str], proxy: str | None
) -> None:
    assert proxy_of(URL(url), environment) == (URL(proxy) if proxy else None)
