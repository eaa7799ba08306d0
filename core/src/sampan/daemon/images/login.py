"""registry_login: whether a registry accepts credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.daemon.images.image import credentials
from sampan.engine import Job
from sampan.models import AuthResult, CheckAuth

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def registry_login(daemon: Daemon, job: Job[CheckAuth]) -> AuthResult:
    """Ask the registry; the credentials are not stored."""
    return AuthResult(identity_token=await daemon.images.login(credentials(job.request.auth)))
