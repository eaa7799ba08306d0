"""The error vocabulary of the whole engine: the class says the kind, the message says what.

    SampanError
    ├── InvalidArgument    the request makes no sense
    ├── Unauthorized       who are you?
    ├── Forbidden          I know you, and no
    ├── NotFound           no such thing
    ├── NotModified        it is already so
    ├── Conflict           the thing's state does not allow it
    ├── Unavailable        not now: the engine is full or shutting down
    │   └── Cancelled      somebody ended the job before it was done
    ├── Unsupported        this engine, driver or host can't do that
    ├── DeadlineExceeded   it took too long
    ├── DataLoss           bytes are not what they should be
    └── SystemFailure      the kernel or a program failed us

Messages are part of the API: Docker's clients match their text. Only the API's edge knows HTTP.
After containerd's errdefs (github.com/containerd/errdefs).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SampanError(Exception):
    """Base of all errors that a caller may see; `str(error)` is the message."""


class InvalidArgument(SampanError):
    """The request makes no sense, whatever the state of the engine."""


class Unauthorized(SampanError):
    """Credentials are missing or wrong."""


class Forbidden(SampanError):
    """The caller is known and may not do this."""


class NotFound(SampanError):
    """There is no such thing."""


class NotModified(SampanError):
    """The thing is already in the state asked for."""


class Conflict(SampanError):
    """The state of the thing, or another thing of its name, does not allow this."""


class Unavailable(SampanError):
    """The engine can't take this now.

    `retry_after_s` says after how many seconds to try again.
    """

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Cancelled(Unavailable):
    """The job was ended before it was done, by `DELETE /jobs/{id}` or as the engine stops."""


class Unsupported(SampanError):
    """This engine, driver or host can't do it; the message says why."""


class DeadlineExceeded(SampanError):
    """It did not end in the time given."""


class DataLoss(SampanError):
    """Bytes are not what their digest, size or format promised."""


class SystemFailure(SampanError):
    """A syscall or a program failed in a way that the caller can't mend by asking differently."""


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Within this, the message of an error begins with `what`, as Docker has it; its class stays."""
    try:
        yield
    except SampanError as error:
        error.args = (f"{what}: {error}", *error.args[1:])
        raise
