"""A Debian (or Ubuntu) with Python and Redis, built with debootstrap from this machine's package mirror."""

import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("python3", "redis-server")
FALLBACK = ("http://deb.debian.org/debian", "bookworm")


@dataclass(frozen=True)
class Mirror:
    """A package mirror and the release to use from it."""

    url: str
    suite: str

    def reachable(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url.rstrip('/')}/dists/{self.suite}/Release", timeout=20):
                return True
        except (OSError, urllib.error.URLError):
            return False


def find_mirror() -> Mirror:
    """The mirror that apt is configured for here, or else Debian's own."""
    words = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    listed = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    for line in listed:
        site, release, component = line.split(" ")
        plain = "-" not in release  # not -updates, not -security
        if (
            site.startswith("http")
            and component == "main"
            and plain
            and Path("/usr/share/debootstrap/scripts", release).exists()
        ):
            return Mirror(site, release)
    return Mirror(*FALLBACK)


def make_root(mirror: Mirror, archive: Path) -> None:
    """Write a tar of a minimal root file system with `PACKAGES` to `archive`; takes a minute and downloads 50 MB."""
    root = archive.with_suffix(".root")
    packages = f"--include={','.join(PACKAGES)}"
    words = ["debootstrap", "--variant=minbase", packages, mirror.suite, str(root), mirror.url]
    try:
        made = subprocess.run(words, check=False, capture_output=True, text=True)
        if made.returncode != 0:
            raise RuntimeError(
                f"{' '.join(words)}: exit status {made.returncode}\n{made.stdout[-2000:]}{made.stderr}"
            )
        subprocess.run(["tar", "--numeric-owner", "--xattrs", "-C", root, "-cf", archive, "."], check=True)
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", root], check=True)
