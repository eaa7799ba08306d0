"""Debian's docker-registry on a free loopback port."""

import re
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import await_line, end

CONFIG = """
version: 0.1
log: {{level: info}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0"}}
"""
AUTH = """
auth: {{htpasswd: {{realm: harbour, path: {path}}}}}
"""
USER, PASSWORD = "hannah", "plank"
_HTPASSWD = f"{USER}:$2b$04$Z3KYRalJP.z8xbz/07K5LuBn7T70DqGdpnW9nN.oXn22XtSgrcC4y\n"


class Registry:
    """A plain-HTTP registry whose blobs are below `root`; `prefix` starts it elsewhere (`nsenter --net=…`).

    A `closed` one admits only `USER` with `PASSWORD`.
    """

    def __init__(self, root: Path, *, prefix: Sequence[str] = (), closed: bool = False) -> None:
        self.prefix = tuple(prefix)
        config, users = root / "registry.yml", root / "htpasswd"
        users.write_text(_HTPASSWD)
        config.write_text(CONFIG.format(root=root / "blobs") + (AUTH.format(path=users) if closed else ""))
        self._process = subprocess.Popen(
            [*self.prefix, "docker-registry", "serve", str(config)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        assert self._process.stderr is not None
        self._log = open(self._process.stderr.fileno(), closefd=False, errors="replace")  # noqa: SIM115
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", await_line(self._log, "listening on"))
        assert found, "docker-registry names its address in another way"
        self.host = f"127.0.0.1:{found[1]}"
        self._drain = threading.Thread(target=self._discard_log, daemon=True)
        self._drain.start()

    def push(self, archive: Path, name: str, *, transport: str = "docker-archive") -> str:
        """Copy the image in `archive` to the registry; returns the reference to pull it by."""
        reference = f"{self.host}/{name}"
        with tempfile.TemporaryDirectory() as scratch:
            copy = ["skopeo", "--tmpdir", scratch, "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
            subprocess.run([*self.prefix, *copy, f"{transport}:{archive}", f"docker://{reference}"], check=True)
        return reference

    def close(self) -> None:
        end(self._process)
        self._drain.join()
        self._log.close()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _discard_log(self) -> None:
        for _ in self._log:
            pass
