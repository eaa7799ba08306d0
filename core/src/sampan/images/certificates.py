"""The certificates for one registry, in a directory such as Docker's `certs.d`.

`*.crt` are authorities to trust there; `NAME.cert` with `NAME.key` is presented to the registry (moby
daemon/pkg/registry registry.go, ReadCertsDirectory).
"""

from __future__ import annotations

import ssl
from pathlib import Path

from sampan.errdefs import InvalidArgument


def context(directory: Path | None, *, ca_file: Path | None, verify: bool) -> ssl.SSLContext:
    """The TLS context for connections to a registry. Raises `OSError`, `ssl.SSLError`, `InvalidArgument`."""
    made = ssl.create_default_context()
    # Python 3.13 rejects authorities without key usage, which Go's clients accept and `openssl req -x509` creates.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if ca_file is not None:
        made.load_verify_locations(ca_file)
    for path in sorted(directory.iterdir()) if directory else ():
        if path.suffix == ".crt":
            made.load_verify_locations(path)
        elif path.suffix == ".cert":
            made.load_cert_chain(path, _key_of(path))
        elif path.suffix == ".key" and not path.with_suffix(".cert").exists():
            raise InvalidArgument(f"missing client certificate {path.stem}.cert for key {path.name}")
    return made


def _key_of(certificate: Path) -> Path:
    key = certificate.with_suffix(".key")
    if not key.exists():
        raise InvalidArgument(
            f"missing key {key.name} for client certificate {certificate.name}. "
            "CA certificates must use the extension .crt"
        )
    return key
