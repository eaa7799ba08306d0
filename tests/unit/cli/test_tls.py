"""Mutual TLS over TCP, with half-close."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.cli.conftest import Outcome

Sampan = Callable[..., Outcome]


def _certificate(
    directory: Path, name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issued_by, signer = issuer or (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issued_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
    (directory / f"{name}-key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return subject, key


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """A CA, a server and a client certificate, named as DOCKER_CERT_PATH expects."""
    authority = _certificate(tmp_path, "ca", None)
    _certificate(tmp_path, "server", authority)
    _certificate(tmp_path, "cert", authority)
    (tmp_path / "cert-key.pem").rename(tmp_path / "key.pem")
    return tmp_path


class TlsEngine:
    """Answers ping, exec create, start (echo until the client's close_notify) and inspect."""

    def __init__(self, certs: Path) -> None:
        self.subjects: list[str] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certs / "server.pem", certs / "server-key.pem")
        self._context.load_verify_locations(certs / "ca.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as tls:
                    self._answer(tls)
            except OSError:
                continue  # one side refused the other

    def _answer(self, tls: ssl.SSLSocket) -> None:
        certificate = tls.getpeercert()
        assert certificate is not None
        self.subjects.append(str(certificate["subject"]))
        request = b""
        while b"\r\n\r\n" not in request:
            request += tls.recv(4096)
        path = request.split()[1]
        if path.endswith(b"/start"):
            tls.sendall(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
            while content := tls.recv(4096):
                tls.sendall(b"\1\0\0\0" + len(content).to_bytes(4, "big") + content)
            tls.sendall(b"\2\0\0\0\0\0\0\3end")
            return
        body = b'{"Id": "e1", "ExitCode": 4}'
        head = f"HTTP/1.1 200 OK\r\nApi-Version: 1.40\r\nContent-Length: {len(body)}\r\n\r\n"
        tls.sendall(head.encode() + body)


@pytest.fixture
def tls_engine(certs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsEngine]:
    engine = TlsEngine(certs)
    monkeypatch.setenv("SAMPAN_HOST", f"tcp://127.0.0.1:{engine.port}")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certs))
    yield engine
    engine.close()


def test_both_sides_show_certificates_and_stdin_can_end_first(tls_engine: TlsEngine, sampan: Sampan) -> None:
    outcome = sampan("--tlsverify", "exec", "-i", "web", "cat", stdin=b"x" * 100_000)
    assert outcome == Outcome(4, "x" * 100_000, "end")
    assert len(tls_engine.subjects) == 4
    assert all("cert" in subject for subject in tls_engine.subjects)


def test_without_verification_any_server_is_talked_to(tls_engine: TlsEngine, certs: Path, sampan: Sampan) -> None:
    (certs / "ca.pem").unlink()
    assert sampan("--tls", "exec", "-i", "web", "cat", stdin=b"y").out == "y"


def test_a_server_of_another_authority_is_refused(tls_engine: TlsEngine, certs: Path, sampan: Sampan) -> None:
    _certificate(certs, "ca", None)
    outcome = sampan("--tlsverify", "exec", "web", "true")
    assert outcome.status == 1
    assert outcome.err.startswith("error during connect: [SSL: CERTIFICATE_VERIFY_FAILED]")


def test_a_missing_certificate_is_named(tls_engine: TlsEngine, certs: Path, sampan: Sampan) -> None:
    (certs / "key.pem").unlink()
    outcome = sampan("--tlsverify", "exec", "web", "true")
    assert (outcome.status, "key.pem" in outcome.err) == (1, True)


def test_plain_text_to_a_tls_port_is_a_message(tls_engine: TlsEngine, sampan: Sampan) -> None:
    outcome = sampan("exec", "web", "true")
    assert outcome.status == 1
    assert outcome.err.startswith("error during connect: ")
