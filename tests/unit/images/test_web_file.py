"""Files fetched from the web, and servers that redirect to something else."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from sampan.errdefs import (
    DeadlineExceeded,
    Forbidden,
    InvalidArgument,
    NotFound,
    SampanError,
    SystemFailure,
    Unauthorized,
)
from sampan.images.registry_config import RegistryConfig
from sampan.images.web_file import web_file

CONFIG = RegistryConfig()


class Site:
    """A web server on loopback; `seen` records the `Authorization` headers received."""

    def __init__(self) -> None:
        self.url = ""
        self.content = b"content" * 1000
        self.location = ""
        self.seen: list[str | None] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request.headers.get("Authorization"))
        what = request.match_info["what"]
        if what.isdigit():
            return web.Response(
                status=int(what), text=" because \n" + "x" * 10_000 if what == "403" else " because \n"
            )
        if what == "moved":
            return web.Response(status=302, headers={"Location": self.location})
        if what in ("cut", "drip"):
            return await self._badly(request, what)
        return web.Response(body=self.content)

    async def _badly(self, request: web.Request, what: str) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 1_000_000
        await response.prepare(request)
        await response.write(b"x" * 100)
        if what == "cut" and request.transport:
            request.transport.close()
            return response
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    application = web.Application()
    application.router.add_get("/{what}", site.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    assert listening._server is not None
    site.url = f"http://127.0.0.1:{listening._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    yield site
    await runner.cleanup()


async def read(source: str, config: RegistryConfig = CONFIG) -> bytes:
    async with web_file(source, config) as file:
        return b"".join([chunk async for chunk in file.chunks()])


async def test_a_file_comes_with_its_size_whether_or_not_the_url_has_a_scheme(site: Site) -> None:
    for source in (f"{site.url}/file", f"{site.url}/file".removeprefix("http://")):
        async with web_file(source, CONFIG) as file:
            assert (file.url, file.size_bytes) == (f"{site.url}/file", len(site.content))
            assert b"".join([chunk async for chunk in file.chunks()]) == site.content


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("400", InvalidArgument),
        ("401", Unauthorized),
        ("403", Forbidden),
        ("404", NotFound),
        ("418", SystemFailure),
        ("500", SystemFailure),
    ],
)
async def test_a_refusal_is_told_in_dockers_words(site: Site, what: str, kind: type[SampanError]) -> None:
    with pytest.raises(
        kind, match=f"^failed to GET {re.escape(site.url)}/{what} with status {what} .*: because"
    ) as raised:
        await read(f"{site.url}/{what}")
    assert len(str(raised.value)) < 5000


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("file:///etc/passwd", 'Get "file:///etc/passwd": unsupported protocol scheme "file"'),
        ("ftp://h/x", 'Get "ftp://h/x": unsupported protocol scheme "ftp"'),
        ("http://", 'Get "http://": http: no Host in request URL'),
        ("http://h:port/", 'parse "http://h:port/": '),
        ("http://[", 'parse "http://[": '),
    ],
)
async def test_what_is_not_on_the_web_is_refused(source: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await read(source)
    assert str(raised.value).startswith(message)


async def test_a_redirect_leads_to_the_web_only(site: Site, tmp_path: Path) -> None:
    site.location = "/file"
    assert await read(f"{site.url}/moved") == site.content
    secret = tmp_path / "secret"
    secret.write_text("secret")
    site.location = secret.as_uri()
    with pytest.raises(InvalidArgument, match='unsupported protocol scheme "file"'):
        await read(f"{site.url}/moved")
    site.location = f"{site.url}/moved"
    with pytest.raises(SystemFailure, match="stopped after 10 redirects"):
        await read(f"{site.url}/moved")


async def test_a_password_is_for_its_host_alone_and_in_no_message(site: Site) -> None:
    site.location = site.url.replace("127.0.0.1", "localhost") + "/404"
    source = str(URL(f"{site.url}/moved").with_user("me").with_password("secret"))
    with pytest.raises(NotFound) as raised:
        await read(source)
    assert "secret" not in str(raised.value)
    assert "me:xxxxx@" in str(raised.value)
    assert [bool(shown) for shown in site.seen] == [True, False]
    async with web_file(source.replace("moved", "file"), CONFIG) as file:
        assert "secret" not in file.url


async def test_a_file_that_breaks_off_is_told_of(site: Site) -> None:
    with pytest.raises(SystemFailure, match=f'^Get "{re.escape(site.url)}/cut": '):
        await read(f"{site.url}/cut")


async def test_a_file_that_drips_is_given_up(site: Site) -> None:
    with pytest.raises(DeadlineExceeded, match=r"the server sent .* too slow"):
        await read(f"{site.url}/drip", replace(CONFIG, read_timeout_s=1.0))


async def test_a_server_that_is_not_there_is_told_of(site: Site) -> None:
    with pytest.raises(SystemFailure, match=r'^Get "http://127\.0\.0\.1:1/": dial tcp 127\.0\.0\.1:1: connect: '):
        await read("http://127.0.0.1:1/")
    with pytest.raises(NotFound, match="no such host"):
        await read("http://there-is-no.such-host.invalid/")


async def test_the_certificate_of_a_server_is_checked(tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match="No such file"):
        async with web_file("https://127.0.0.1:1/", replace(CONFIG, ca_file=tmp_path / "missing")):
            pass
