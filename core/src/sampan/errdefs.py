"""The errors of the whole engine: the class tells the kind, the message the details.

    SampanError
    ├── InvalidArgument    the request is invalid
    ├── Unauthorized       the caller is not authenticated
    ├── Forbidden          the caller is known, and may not do this
    ├── NotFound           no such object
    ├── NotModified        the object is already in that state
    ├── Conflict           the object's state does not allow it
    ├── Unavailable        not now: the engine is busy or shutting down
    │   └── Cancelled      the job was ended before it was done
    ├── Unsupported        this engine, driver or host can't do that
    ├── DeadlineExceeded   it took too long
    ├── DataLoss           data is damaged or missing
    └── SystemFailure      a syscall or a program failed

Messages are part of the API: Docker's clients match their text. Only the API layer knows HTTP.
Modelled on containerd's errdefs (github.com/containerd/errdefs).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SampanError(Exception):
    """Base of all errors that a caller may see; `str(error)` is the message."""


class InvalidArgument(SampanError):
    """The request is invalid, whatever the state of the engine."""


class Unauthorized(SampanError):
    """Credentials are missing or wrong."""


class Forbidden(SampanError):
    """The caller is known and may not do this."""


class NotFound(SampanError):
    """There is no such object."""


class NotModified(SampanError):
    """The object is already in the requested state."""


class Conflict(SampanError):
    """The state of the object, or another object of the same name, does not allow this."""


class Unavailable(SampanError):
    """The engine can't accept this now.

    `retry_after_s` is the number of seconds after which to try again.
    """

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Cancelled(Unavailable):
    """The job was ended before it was done, by `DELETE /jobs/{id}` or because the engine stops."""


class Unsupported(SampanError):
    """This engine, driver or host can't do it; the message tells why."""


class DeadlineExceeded(SampanError):
    """It did not end within the time limit."""


class DataLoss(SampanError):
    """Data is missing, or does not match its digest, size or format."""


class SystemFailure(SampanError):
    """A syscall or a program failed, and the caller can't avoid that by a different request."""


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Prefix the message of an error raised within the context with `what`, as Docker does, keeping its class."""
    try:
        yield
    except SampanError as error:
        error.args = (f"{what}: {error}", *error.args[1:])
        raise
