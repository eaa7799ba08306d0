"""The ASGI app: Docker's API on top of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from sampan import __version__
from sampan.api import docs
from sampan.api.edge import Edge
from sampan.api.errors import install_handlers
from sampan.api.openapi import document
from sampan.api.routers import (
    archive,
    commit,
    container,
    driver,
    exec,
    image,
    job,
    network,
    output,
    process,
    registry,
    save,
    system,
    volume,
)
from sampan.api.routers.unserved import unserved_router
from sampan.engine import Engine

_MODULES = (
    exec,
    process,
    output,
    archive,
    commit,
    container,
    image,
    registry,
    save,
    network,
    volume,
    system,
    job,
    driver,
)
_ROUTERS = tuple(module.router for module in _MODULES)


def create_app(engine: Engine, *, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The whole API of `engine`. `routers` are those of plugins; they come first, and may replace ours."""
    app = FastAPI(
        title="sampan",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.engine = engine
    app.openapi = partial(document, app)  # type: ignore[method-assign]
    app.add_middleware(Edge)
    install_handlers(app)
    served = (*routers, *_ROUTERS, docs.router)
    every = (*served, unserved_router(_operations(served)))
    for router in every:
        app.include_router(router)
    app.state.routes = [route for router in every for route in router.routes]
    return app


def _operations(routers: Sequence[APIRouter]) -> list[tuple[str, str]]:
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return [(method, route.path_format) for route in routes for method in route.methods or ()]
