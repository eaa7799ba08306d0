"""Listeners, roles, limits and TLS, over real sockets."""

import asyncio
import grp
import io
import json
import os
import socket
import ssl
import stat
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.server import Listener, TlsFiles
from sampan.engine import Job
from sampan.errdefs import Conflict, InvalidArgument, SystemFailure
from tests.support.serving import Serving, serving

PING = b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"


async def exchange(path: Path, request: bytes) -> bytes:
    """Send a request and read until the server closes the connection."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


def body_of(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


async def test_a_unix_socket_has_mode_0660_and_its_group(session_dir: Path) -> None:
    path = session_dir / "group.sock"
    group = grp.getgrgid(os.getgid()).gr_name
    for listening in Listener(f"unix://{path}", group=group).open():
        listening.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert path.stat().st_gid == os.getgid()


async def test_an_unknown_group_is_an_error(session_dir: Path) -> None:
    with pytest.raises(InvalidArgument, match="group no-such-group not found"):
        Listener(f"unix://{session_dir}/g.sock", group="no-such-group").open()


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(session_dir: Path) -> None:
    path = session_dir / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    async with serving(path) as served:
        assert (await served.call("GET", "/_ping"))[0] == 200
        with pytest.raises(Conflict, match="another process does"):
            Listener(f"unix://{path}").open()
    assert not path.exists()


async def test_a_failed_start_leaves_nothing_open(session_dir: Path) -> None:
    path = session_dir / "first.sock"
    with pytest.raises(SystemFailure, match="No such file or directory"):
        async with serving(path, Listener("unix:///nonexistent/directory/s.sock")):
            pass
    assert not path.exists()


@pytest.mark.parametrize("address", ["http://localhost", "nonsense", "", "tcp://[::1"])
def test_an_address_that_makes_no_sense_is_an_error(address: str, tmp_path: Path) -> None:
    tls = TlsFiles(tmp_path, tmp_path, tmp_path)
    with pytest.raises(InvalidArgument, match="Invalid bind address format"):
        Listener(address, tls=tls).open()


def test_tcp_without_tls_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="TCP is served with mutual TLS only"):
        Listener("tcp://127.0.0.1:0").open()


def test_fd_without_socket_activation_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    with pytest.raises(InvalidArgument, match="systemd's socket activation"):
        Listener("fd://").open()


async def test_a_read_only_listener_refuses_what_changes_things(session_dir: Path) -> None:
    async with serving(session_dir / "ro.sock", role="read-only") as served:
        served.daemon.answers["container_list"] = []
        assert (await served.call("GET", "/v1.50/containers/json"))[0] == 200
        status, body, _ = await served.call("POST", "/v1.50/containers/web/start")
        assert status == 403
        assert body == {"message": "this listener is read-only: POST /containers/web/start is not allowed"}
        assert (await served.call("DELETE", "/containers/web"))[0] == 403
        assert (await served.call("GET", "/v1.50/containers/web/attach/ws?stdin=1"))[0] == 403
        assert [job.name for job in served.daemon.jobs] == ["container_list"]
        assert served.daemon.jobs[0].caller.role == "read-only"


async def test_a_head_that_is_too_large_is_refused(session_dir: Path) -> None:
    async with serving(session_dir / "head.sock", head=4096):
        answer = await exchange(session_dir / "head.sock", PING[:-2] + b"X-Long: " + b"a" * 5000)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert body_of(answer) == {"message": "request header is too large"}


async def test_a_head_that_does_not_arrive_is_given_up(session_dir: Path) -> None:
    async with serving(session_dir / "slow.sock", head_timeout_s=0.05):
        answer = await exchange(session_dir / "slow.sock", b"GET /_ping HT")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert await exchange(session_dir / "slow.sock", b"") == b""


async def test_one_connection_too_many_is_refused(session_dir: Path) -> None:
    path = session_dir / "many.sock"
    async with serving(path, connections=1):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(PING)
        await reader.readuntil(b"OK")
        answer = await exchange(path, PING)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert body_of(answer) == {"message": "too many connections"}


async def test_what_is_no_http_gets_a_json_error(api: Serving) -> None:
    answer = await exchange(api.path, b"\x16\x03\x01 hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert body_of(answer) == {"message": "Invalid HTTP request received."}


async def test_a_body_that_is_too_large_is_refused(api: Serving) -> None:
    async def endless() -> Any:
        for _ in range(17):
            yield b" " * 2**20

    json_type = {"Content-Type": "application/json"}
    announced = await api.call("POST", "/volumes/create", data=io.BytesIO(b" " * (2**24 + 1)), headers=json_type)
    chunked = await api.call("POST", "/volumes/create", data=endless(), headers=json_type)
    assert announced[0] == chunked[0] == 413
    assert (
        announced[1] == chunked[1] == {"message": "request body is too large: at most 16777216 bytes are taken here"}
    )


async def test_requests_on_one_connection_are_answered_in_order(api: Serving) -> None:
    api.daemon.answers["container_list"] = []
    pipelined = b"GET /containers/json HTTP/1.1\r\nHost: d\r\n\r\n" + PING.replace(
        b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"
    )
    answer = await exchange(api.path, pipelined)
    assert answer.index(b"[]") < answer.index(b"OK", answer.index(b"[]"))


async def test_another_upgrade_is_answered_as_plain_http(api: Serving) -> None:
    answer = await exchange(api.path, PING[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_closing_lets_a_request_end(session_dir: Path) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    async def slow(job: Job[Any]) -> list[Any]:
        running.set()
        await go_on.wait()
        return []

    async with serving(session_dir / "slow.sock") as served:
        served.daemon.answers["container_list"] = slow
        call = asyncio.create_task(served.call("GET", "/containers/json"))
        await running.wait()
        closing = asyncio.create_task(served.server.close(30))
        await asyncio.sleep(0)
        go_on.set()
        assert (await call)[:2] == (200, [])
        await closing


class Authority:
    """A certificate authority for one test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._certify(self.name, self.key.public_key(), authority=True)
        self.path = self._write("ca", self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, organisation: str) -> tuple[Path, Path]:
        """Write a certificate and its key, and return their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            ]
        )
        certificate = self._certify(subject, key.public_key(), authority=False)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = certificate.public_bytes(serialization.Encoding.PEM)
        return self._write(f"{name}-cert", public), self._write(f"{name}-key", secret)

    def _certify(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> Path:
        path = self.directory / f"{name}.pem"
        path.write_bytes(content)
        return path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls_listener(authority: Authority) -> Listener:
    certificate, key = authority.issue("localhost", "sampan")
    return Listener("tcp://127.0.0.1:0", role="read-only", tls=TlsFiles(certificate, key, authority.path))


@pytest.fixture
def client_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # like Go clients, which accept this CA
    context.load_cert_chain(*authority.issue("alice", "ops"))
    return context


def port_of(served: Serving) -> int:
    return next(int(one.getsockname()[1]) for one in served.server.sockets if one.family == socket.AF_INET)


async def test_tls_tells_the_subject_of_the_clients_certificate(
    session_dir: Path, tls_listener: Listener, client_context: ssl.SSLContext
) -> None:
    async with serving(session_dir / "tls.sock", tls_listener) as served:
        served.daemon.answers["container_list"] = []
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port_of(served), ssl=client_context, server_hostname="localhost"
        )
        writer.write(b"GET /containers/json HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        caller = served.daemon.jobs[-1].caller
    assert (caller.subject, caller.role, caller.uid) == ("CN=alice,O=ops", "read-only", None)
    assert caller.address.startswith("127.0.0.1:")


def blocking_client(context: ssl.SSLContext, port: int, request: bytes, *, half_close: bool) -> bytes:
    """A client that can half-close and read on, like Go's CloseWrite; asyncio's TLS can't."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), 10) as connection:

        def pump(step: Any) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    content = connection.recv(65536)
                    if not content:
                        incoming.write_eof()
                    incoming.write(content)

        pump(tls.do_handshake)
        tls.write(request)
        if half_close:
            with suppress(ssl.SSLWantReadError):
                tls.unwrap()
        received = b""
        while True:
            try:
                content = pump(lambda: tls.read(65536))
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return received
            if not content:
                return received
            received += content


async def test_over_tls_output_goes_on_after_the_client_has_closed_its_side(
    session_dir: Path, tls_listener: Listener, client_context: ssl.SSLContext
) -> None:
    async def handler(job: Job[Any]) -> None:
        assert job.streams is not None
        await job.streams.accept(multiplexed=False)
        total = b""
        while content := await job.streams.read():
            total += content
        await job.streams.write(1, total + b"|" + b"z" * 1_000_000 + b"|end")

    listener = Listener(tls_listener.address, tls=tls_listener.tls)
    async with serving(session_dir / "tls.sock", listener) as served:
        served.daemon.answers["container_attach"] = handler
        request = b"POST /containers/web/attach?stdin=1 HTTP/1.1\r\nHost: d\r\n"
        request += b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\ninput"
        answer = await asyncio.to_thread(blocking_client, client_context, port_of(served), request, half_close=True)
    assert answer.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
    assert answer.endswith(b"input|" + b"z" * 1_000_000 + b"|end")


async def test_tls_refuses_a_client_without_a_certificate(
    session_dir: Path, tls_listener: Listener, authority: Authority
) -> None:
    context = ssl.create_default_context(cafile=str(authority.path))
    async with serving(session_dir / "tls.sock", tls_listener) as served:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(blocking_client, context, port_of(served), PING, half_close=False)
        assert served.daemon.jobs == []


async def test_plain_http_on_the_tls_port_is_hung_up_on(session_dir: Path, tls_listener: Listener) -> None:
    async with serving(session_dir / "tls.sock", tls_listener) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(served))
        writer.write(PING)
        assert b"OK" not in await reader.read()
        writer.close()


def test_certificates_that_are_missing_are_one_clear_error(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(InvalidArgument, match=r"can't load TLS certificates: .*No such file"):
        Listener("tcp://127.0.0.1:0", tls=TlsFiles(missing, missing, missing)).tls_context()
