"""Translates a registry's refusals into Docker's errors.

Sources: moby daemon/internal/distribution/errors.go, docker/distribution registry/api/errcode, distribution-spec
(Error Codes).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from sampan.errdefs import InvalidArgument, NotFound, SampanError, SystemFailure, Unauthorized, Unavailable
from sampan.images.interruption import Interrupted
from sampan.images.reference import Reference
from sampan.images.transport import number_in

_ERROR_BYTES_MAX = 64 << 10
_DOCUMENT_S = 60.0
_RETRY_AFTER_S = 60
_RETRY_AFTER_MAX_S = 86_400
_PULL_DENIED = "pull access denied for {name}, repository does not exist or may require 'docker login': {cause}"
_REFUSALS: dict[str, tuple[type[SampanError], str]] = {
    "UNAUTHORIZED": (Unauthorized, _PULL_DENIED),
    "DENIED": (NotFound, _PULL_DENIED),
    "MANIFEST_UNKNOWN": (NotFound, "manifest for {reference} not found: {cause}"),
    "NAME_UNKNOWN": (NotFound, "repository {name} not found: {cause}"),
}
_PUSH_REFUSALS: dict[str, tuple[type[SampanError], str]] = {
    "UNAUTHORIZED": (Unauthorized, "{cause}"),
    "DENIED": (Unauthorized, "{cause}"),
    "NAME_UNKNOWN": (NotFound, "repository {name} not found: {cause}"),
}
_DEFAULT_ERRORS = {
    401: ("UNAUTHORIZED", "authentication required"),
    403: ("DENIED", "requested access to the resource is denied"),
    404: ("MANIFEST_UNKNOWN", "manifest unknown"),
    429: ("TOOMANYREQUESTS", "too many requests"),
}


async def refusal(response: aiohttp.ClientResponse, reference: Reference, *, pushing: bool = False) -> SampanError:
    """The error for an unsuccessful response."""
    status = response.status
    if status >= 500:
        return Interrupted(f"received unexpected HTTP status: {status} {response.reason}")
    code, text = error_of(await read_bounded(response, _ERROR_BYTES_MAX), status)
    if 'error="insufficient_scope"' in response.headers.get("WWW-Authenticate", ""):  # Docker Hub: an anonymous token
        code, text = "DENIED", _DEFAULT_ERRORS[403][1]
    cause = f"{code.lower().replace('_', ' ')}: {text}"
    if code == "TOOMANYREQUESTS" or status == 429:
        return _too_many(response, cause)
    kind, words = (_PUSH_REFUSALS if pushing else _REFUSALS).get(code, (SystemFailure, "{cause}"))
    return kind(words.format(name=reference.familiar_name, reference=reference.familiar, cause=cause))


def error_of(body: bytes, status: int) -> tuple[str, str]:
    """Code and message of the first error in a registry's response; a token server may send only `details`."""
    default = _DEFAULT_ERRORS.get(status, ("UNKNOWN", f"unexpected HTTP status {status}"))
    try:
        document: Any = json.loads(body)
        if isinstance(document.get("details"), str):
            return default[0], document["details"]
        first = document["errors"][0]
        code, text = first.get("code"), first.get("message")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return default
    if not isinstance(code, str) or not code:
        return default
    return code, text if isinstance(text, str) and text else default[1]


async def read_bounded(response: aiohttp.ClientResponse, limit: int, timeout_s: float = _DOCUMENT_S) -> bytes:
    """The body, of at most `limit` bytes. Raises `InvalidArgument` if it is larger, `TimeoutError`."""
    content = bytearray()
    async with asyncio.timeout(timeout_s):
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > limit:
                raise InvalidArgument(f"the registry's answer is larger than {limit} bytes")
    return bytes(content)


def _too_many(response: aiohttp.ClientResponse, cause: str) -> Unavailable:
    """Add what the registry says about its limit (`RateLimit-Limit: 100;w=21600`, docs.docker.com, Pull usage)."""
    said = number_in(response.headers.get("Retry-After", ""))
    limit, window = map(number_in, response.headers.get("RateLimit-Limit", "").partition(";w=")[::2])
    if limit is not None and window is not None:
        cause += f" (the limit is {limit} in {window / 3600:g} h"
        cause += f"; try again in {said} s)" if said is not None else ")"
    return Unavailable(cause, retry_after_s=_RETRY_AFTER_S if said is None or said > _RETRY_AFTER_MAX_S else said)
