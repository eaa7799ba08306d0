"""The OpenAPI document is correct, and its page works without a network."""

import asyncio
import gzip
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from sampan import models
from sampan.api.app import create_app
from sampan.api.examples import REQUESTS, RESPONSES
from sampan.api.operations import OPERATIONS
from sampan.engine import Engine
from sampan.models.base import Model
from tests.support.front import tcp_front
from tests.support.serving import Serving, serving

ONE_REQUEST: dict[str, type[Model]] = {
    "ImageCommit": models.ContainerConfig,
    "ContainerCreate": models.CreateContainerBody,
    "ContainerExec": models.ExecConfig,
    "ContainerUpdate": models.UpdateContainerBody,
    "ExecStart": models.ExecStartBody,
    "SystemAuth": models.RegistryAuth,
    "NetworkConnect": models.ConnectNetworkBody,
    "NetworkCreate": models.CreateNetwork,
    "NetworkDisconnect": models.DisconnectNetworkBody,
    "VolumeCreate": models.CreateVolume,
}
STREAMED = {
    "ContainerStats": models.ContainerStats,
    "ContainerWait": models.WaitResult,
    "ImageCreate": models.Progress,
    "ImageLoad": models.Progress,
    "ImagePush": models.Progress,
    "SystemEvents": models.Event,
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Engine()).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert json.loads(json.dumps(document)) == document


def test_all_of_dockers_operations_are_there(document: dict[str, Any]) -> None:
    def shape(path: str) -> str:
        return re.sub(r"{\w+}", "{}", path)

    ours = {(method, shape(path)): operation["operationId"] for method, path, operation in operations(document)}
    for operation in OPERATIONS:
        assert ours[operation.method, shape(operation.path)] == operation.id


def test_operations_have_ids_of_their_own(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_every_tag_is_explained(document: dict[str, Any]) -> None:
    explained = [tag["name"] for tag in document["tags"] if tag["description"]]
    assert len(explained) == len(set(explained))
    assert {name for _, _, operation in operations(document) for name in operation["tags"]} == set(explained)


def test_every_operation_has_a_summary_and_its_errors(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["tags"], (method, path)
        assert "422" not in operation["responses"], (method, path)
        for status, response in operation["responses"].items():
            assert response["description"], (method, path, status)
            if status >= "400":
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorResponse"}, (method, path, status)


def test_every_path_parameter_is_declared_with_its_type(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        if "501" in operation["responses"]:
            continue
        declared = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path)), (method, path)
        assert all(one["schema"].get("type") or one["schema"].get("anyOf") for one in operation.get("parameters", ()))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {name.removeprefix("#/components/schemas/") for name in references(document)} <= set(schemas)
    assert "HTTPValidationError" not in schemas


def test_every_answer_with_a_body_has_an_example(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for status, response in operation["responses"].items():
            content = response.get("content", {}).get("application/json")
            if content is not None:
                assert "example" in content, (method, path, status)


def test_examples_are_what_they_are_examples_of(document: dict[str, Any]) -> None:
    by_id = {operation["operationId"]: operation for _, _, operation in operations(document)}
    for operation_id, example in REQUESTS.items():
        ONE_REQUEST[operation_id].model_validate(example)
    for operation_id, example in RESPONSES.items():
        adapter: TypeAdapter[Any] = TypeAdapter(STREAMED.get(operation_id) or _model(by_id[operation_id]))
        read = adapter.validate_python(example)
        written = adapter.dump_python(read, by_alias=True, mode="json")
        assert set(_names(example)) <= set(_names(written)), operation_id


def _model(operation: dict[str, Any]) -> Any:
    responses = operation["responses"]
    schema = (responses.get("200") or responses["201"])["content"]["application/json"]["schema"]
    if schema.get("type") == "array":
        return list[getattr(models, schema["items"]["$ref"].rpartition("/")[2])]  # type: ignore[misc]
    return getattr(models, schema["$ref"].rpartition("/")[2])


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, child in node.items():
            if child not in ({}, []):
                yield name
            yield from _names(child)
    elif isinstance(node, list):
        for child in node:
            yield from _names(child)


async def test_the_document_and_the_page_are_served_with_a_version_too(api: Serving) -> None:
    for prefix in ("", "/v1.50"):
        status, body, _ = await api.call("GET", f"{prefix}/openapi.json")
        assert (status, body["info"]["title"]) == (200, "sampan")
        status, page, headers = await api.call("GET", f"{prefix}/docs")
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        urls = re.findall(rb'(?:src|href)="([^"]+)"', page)
        assert not any(url.startswith((b"http:", b"https:", b"//")) for url in urls)


async def test_the_pages_parts_are_cached_for_good(api: Serving) -> None:
    page = (await api.call("GET", "/docs"))[1].decode()
    for kind, content_type in (("src", "text/javascript"), ("stylesheet", "text/css")):
        pattern = r'src="([^"]+)"' if kind == "src" else r'rel="stylesheet" href="([^"]+)"'
        found = re.search(pattern, page)
        assert found
        async with api.http.get("/" + found[1].lstrip("/"), auto_decompress=False) as answer:
            assert answer.status == 200
            assert answer.content_type == content_type
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert len(gzip.decompress(await answer.read())) > 100_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
async def test_the_page_shows_every_operation_in_a_browser_without_a_network(
    session_dir: Path, tmp_path: Path, document: dict[str, Any]
) -> None:
    async with serving(session_dir / "docs.sock") as served, tcp_front(served.path) as port:
        browser = await asyncio.create_subprocess_exec(
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            f"--user-data-dir={tmp_path}",
            "--proxy-server=http://127.0.0.1:9",
            "--proxy-bypass-list=127.0.0.1",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"http://127.0.0.1:{port}/docs",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        page, _ = await asyncio.wait_for(browser.communicate(), 120)
    text = page.decode()
    assert "Failed to load" not in text
    shown = set(re.findall(r'id="operations-(\w+-\w+)"', text))
    assert {f"{one['tags'][0]}-{one['operationId']}" for _, _, one in operations(document)} <= shown
