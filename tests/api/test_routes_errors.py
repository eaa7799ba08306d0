"""Every error has Docker's shape and status."""

import asyncio
import logging
from logging.handlers import QueueHandler
from typing import Any

import pytest

from sampan import errdefs
from tests.support.serving import Serving


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errdefs.InvalidArgument("bad"), 400),
        (errdefs.Unauthorized("who"), 401),
        (errdefs.Forbidden("no"), 403),
        (errdefs.NotFound("No such container: web"), 404),
        (errdefs.Conflict("in use"), 409),
        (errdefs.Unsupported("can't"), 501),
        (errdefs.Unavailable("busy"), 503),
        (errdefs.DeadlineExceeded("late"), 500),
        (errdefs.DataLoss("lost"), 500),
        (errdefs.SystemFailure("EIO"), 500),
    ],
)
async def test_the_class_of_an_error_is_its_status(api: Serving, error: Exception, status: int) -> None:
    api.daemon.answers["container_start"] = error
    code, body, headers = await api.call("POST", "/containers/web/start")
    assert (code, body) == (status, {"message": str(error)})
    assert headers["sampan-job"] == api.daemon.jobs[-1].id


async def test_a_client_that_goes_away_in_the_middle_of_its_request_is_no_error_of_the_daemon(
    api: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: asyncio.Queue[logging.LogRecord] = asyncio.Queue()
    monkeypatch.setattr(logging.getLogger("sampan.api.edge"), "handlers", [QueueHandler(told)])
    with caplog.at_level(logging.INFO):
        _, writer = await asyncio.open_unix_connection(str(api.path))
        writer.write(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        record = await told.get()
    assert record.levelno == logging.INFO
    assert record.getMessage() == "POST /containers/create: the client went away before its request was complete"
    assert api.daemon.jobs == []


async def test_not_modified_has_no_body(api: Serving) -> None:
    api.daemon.answers["container_start"] = errdefs.NotModified("it runs")
    status, body, headers = await api.call("POST", "/containers/web/start")
    assert (status, body) == (304, b"")
    assert "content-type" not in headers


async def test_unavailable_says_when_to_try_again(api: Serving) -> None:
    api.daemon.answers["container_start"] = errdefs.Unavailable("the queue is full", retry_after_s=7)
    status, _, headers = await api.call("POST", "/containers/web/start")
    assert (status, headers["retry-after"]) == (503, "7")


async def test_a_bug_is_a_500_in_the_same_shape(api: Serving) -> None:
    api.daemon.answers["container_start"] = ValueError("oops")
    status, body, headers = await api.call("POST", "/containers/web/start")
    assert (status, body) == (500, {"message": "ValueError: oops"})
    assert headers["server"].startswith("Sampan/")


async def test_a_draining_engine_answers_503(api: Serving) -> None:
    await api.engine.stop(1)
    status, body, headers = await api.call("GET", "/info")
    assert (status, headers["retry-after"]) == (503, "1")
    assert "takes no new jobs" in body["message"]
    assert (await api.call("GET", "/_ping"))[0] == 200


@pytest.mark.parametrize("path", ["/", "/nope", "/v1.50/nope", "/containers", "/v1.50"])
async def test_an_unknown_path_is_page_not_found(api: Serving, path: str) -> None:
    status, body, _ = await api.call("GET", path)
    assert (status, body) == (404, {"message": "page not found"})


async def test_a_wrong_method_is_told_all_that_the_path_has(api: Serving) -> None:
    status, _, headers = await api.call("PATCH", "/volumes/data")
    assert (status, headers["allow"]) == (405, "DELETE, GET, PUT")


async def test_a_wrong_method_is_405(api: Serving) -> None:
    status, body, headers = await api.call("PATCH", "/version")
    assert (status, body, headers["allow"]) == (405, {"message": "method not allowed"}, "GET")


async def test_too_new_and_too_old_versions_are_refused_in_dockers_words(api: Serving) -> None:
    assert (await api.call("GET", "/v1.99/info"))[:2] == (
        400,
        {"message": "client version 1.99 is too new. Maximum supported API version is 1.56"},
    )
    assert (await api.call("GET", "/v1.20/info"))[:2] == (
        400,
        {
            "message": "client version 1.20 is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version"
        },
    )


@pytest.mark.parametrize(
    ("content", "content_type", "message"),
    [
        (b"{", "application/json", "invalid JSON: "),
        (b"[]", "application/json", "invalid JSON: "),
        (b"", "application/json", "invalid JSON: got EOF while reading request body"),
        (b"{}", "text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"),
        (
            b'{"Tty": "yes"}',
            "application/json",
            "invalid JSON: json: cannot unmarshal string into Go struct field CreateRequest.Tty of type bool",
        ),
        (
            b'{"Labels": {"a": {}}}',
            "application/json",
            "cannot unmarshal object into Go struct field CreateRequest.Labels of type string",
        ),
        (
            b'{"HostConfig": {"Mounts": [{"Target": 1}]}}',
            "application/json",
            "cannot unmarshal number into Go struct field Mount.HostConfig.Mounts.Target of type string",
        ),
        (
            b'{"Cmd": 1}',
            "application/json",
            "unmarshal number into Go struct field CreateRequest.Cmd of type []string",
        ),
        (b'{"Tty": }', "application/json", "invalid JSON: invalid character '}' looking for beginning of value"),
        (b'{"Tty"', "application/json", "invalid JSON: unexpected EOF"),
        (
            b'{"HostConfig": {"Memory": "1g"}}',
            "application/json",
            "into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
        (
            b'{"HostConfig": {"Memory": 99999999999999999999}}',
            "application/json",
            "into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
        (b"[" * 100_000, "application/json", "invalid JSON: "),
        (b'{"Image": "\xff"}', "application/json", "invalid JSON: "),
    ],
)
async def test_a_body_that_makes_no_sense_is_400(
    api: Serving, content: bytes, content_type: str, message: str
) -> None:
    headers = {"Content-Type": content_type}
    status, body, _ = await api.call("POST", "/containers/create", data=content, headers=headers)
    assert status == 400
    assert message in body["message"]
    assert api.daemon.jobs == []


async def test_a_parameter_that_makes_no_sense_is_400(api: Serving) -> None:
    status, body, _ = await api.call("GET", "/containers/json", params={"limit": "many"})
    assert status == 400
    assert body["message"].startswith('invalid value for "limit": ')


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/build"),
        ("POST", "/session"),
        ("GET", "/swarm/unlockkey"),
        ("GET", "/swarm"),
    ],
)
async def test_what_is_not_served_yet_says_so(api: Serving, method: str, path: str) -> None:
    status, body, _ = await api.call(method, path)
    assert status == 501
    assert body["message"].startswith(f"sampan does not serve {method} /")
    assert api.daemon.jobs == []


async def test_a_cancelled_job_is_unavailable(api: Serving) -> None:
    async def cancel_itself(job: Any) -> None:
        api.engine.cancel(job.id)
        await asyncio.sleep(0)

    api.daemon.answers["image_pull"] = cancel_itself
    status, body, _ = await api.call("POST", "/images/create", params={"fromImage": "busybox"})
    assert status == 503
    assert "was cancelled" in body["message"]
