"""What Docker's resource fields can't express: any control file of cgroup v2, and pressure alerts.

Our own clients set `Unified` and `PsiAlerts` in the host configuration. Docker's clients use annotations instead,
which only the creator of a container can set, never an image:

    docker run --annotation sampan.cgroup.memory.high=512M --annotation sampan.psi-alert=memory:some:150ms/1s …
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sampan.drivers import PressureAlert
from sampan.errdefs import InvalidArgument
from sampan.models import HostConfig

_FILE_ANNOTATION = "sampan.cgroup."
_ALERT_ANNOTATION = "sampan.psi-alert"
_ALERT = re.compile(r"(cpu|memory|io):(some|full):([0-9]{1,9})(us|ms|s)/([0-9]{1,9})(us|ms|s)")
_UNIT_US = {"us": 1, "ms": 1000, "s": 1_000_000}
_WINDOW_US = range(500_000, 10_000_001)  # kernel Documentation/accounting/psi.rst


def unified(host: HostConfig) -> Mapping[str, str]:
    """Names of control files and the values to write to them."""
    annotated = {
        name.removeprefix(_FILE_ANNOTATION): value
        for name, value in (host.annotations or {}).items()
        if name.startswith(_FILE_ANNOTATION)
    }
    return annotated | (host.unified or {})


def pressure_alerts(host: HostConfig) -> tuple[PressureAlert, ...]:
    """The alerts asked for. Raises `InvalidArgument` for an invalid one."""
    annotated = (host.annotations or {}).get(_ALERT_ANNOTATION, "")
    texts = [*(host.psi_alerts or ()), *filter(None, annotated.split(","))]
    return tuple(map(parse_alert, texts))


def parse_alert(text: str) -> PressureAlert:
    """Parse `RESOURCE:KIND:STALL/WINDOW`, such as `memory:some:150ms/1s`. Raises `InvalidArgument`."""
    found = _ALERT.fullmatch(text)
    if not found:
        raise InvalidArgument(f"invalid pressure alert {text!r}: it must have the form memory:some:150ms/1s")
    resource, kind, stall, stall_unit, window, window_unit = found.groups()
    alert = PressureAlert(resource, kind, int(stall) * _UNIT_US[stall_unit], int(window) * _UNIT_US[window_unit])
    if alert.window_us not in _WINDOW_US:
        raise InvalidArgument(f"invalid pressure alert {text!r}: the window must be from 500ms to 10s")
    if not 0 < alert.stall_us <= alert.window_us:
        raise InvalidArgument(
            f"invalid pressure alert {text!r}: the stall must be longer than zero and no longer than the window"
        )
    return alert
