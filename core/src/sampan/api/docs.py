"""The API's documentation pages, with all assets included, so that they work offline."""

from __future__ import annotations

from functools import cache
from importlib import resources

from fastapi import APIRouter, Response
from fastapi.openapi.docs import get_swagger_ui_html

router = APIRouter(include_in_schema=False)
_YEAR = {"Cache-Control": "public, max-age=31536000, immutable"}
_TYPES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


@router.get("/docs")
async def docs() -> Response:
    """Swagger UI on our document."""
    version = _asset("VERSION").decode().strip()
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="sampan: the API",
        swagger_js_url=f"docs/{version}/swagger-ui-bundle.js",
        swagger_css_url=f"docs/{version}/swagger-ui.css",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"validatorUrl": None, "docExpansion": "list", "filter": True},
    )


@router.get("/docs/{version}/swagger-ui-bundle.js")
async def script() -> Response:
    """Swagger UI itself."""
    return _file("swagger-ui-bundle.js")


@router.get("/docs/{version}/swagger-ui.css")
async def style() -> Response:
    """How it looks."""
    return _file("swagger-ui.css")


def _file(name: str) -> Response:
    headers = {**_YEAR, "Content-Encoding": "gzip"}
    return Response(_asset(f"{name}.gz"), headers=headers, media_type=_TYPES[name])


@cache
def _asset(name: str) -> bytes:
    return (resources.files("sampan.api") / "assets" / name).read_bytes()
