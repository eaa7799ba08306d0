"""How registries are reached, and that TLS is verified."""

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sampan.errdefs import InvalidArgument, SystemFailure
from sampan.images.certificates import context
from sampan.images.reference import Reference
from sampan.images.registry import RegistryClient
from sampan.images.registry_config import Endpoint, RegistryConfig
from tests.unit.images.fake_registry import FakeRegistry

SECURE = [("https", True)]
ANY = [("https", False), ("http", False)]


@pytest.mark.parametrize(
    ("domain", "ways"),
    [
        ("example.com", SECURE),
        ("example.com:5000", SECURE),
        ("10.1.2.3:5000", SECURE),
        ("localhost", ANY),
        ("localhost:5000", ANY),
        ("127.3.2.1:5000", ANY),
        ("[::1]:5000", ANY),
        ("plain.example.com", ANY),
        ("plain.example.com:5000", ANY),
        ("port.example.com:80", ANY),
        ("port.example.com:81", SECURE),
        ("192.168.7.7:5000", ANY),
        ("127.example.com", SECURE),
    ],
)
def test_only_loopback_and_insecure_registries_may_be_plain(domain: str, ways: list[tuple[str, bool]]) -> None:
    config = RegistryConfig(insecure=("plain.example.com", "port.example.com:80", "192.168.0.0/16"))
    assert config.endpoints(domain) == tuple(Endpoint(f"{scheme}://{domain}", verify) for scheme, verify in ways)


def test_dockers_own_registry_has_another_name() -> None:
    assert RegistryConfig().endpoints("docker.io") == (Endpoint("https://registry-1.docker.io", verify=True),)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "registry.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


@pytest.fixture
def wants_certificate() -> bool:
    """Whether the registry requires client certificates."""
    return False


@pytest.fixture
async def secure(certificate: Path, wants_certificate: bool) -> AsyncIterator[FakeRegistry]:
    fake = FakeRegistry()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    if wants_certificate:
        context.load_verify_locations(certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    runner = web.AppRunner(fake.application(), access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    assert site._server is not None
    fake.host = f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    yield fake
    await runner.cleanup()


class Checked(RegistryConfig):
    """Gives loopback no special treatment."""

    def endpoints(self, domain: str) -> tuple[Endpoint, ...]:
        return (Endpoint(f"https://{domain}", verify=True),)


async def document_of(config: RegistryConfig, registry: FakeRegistry) -> bytes:
    client = RegistryClient(config)
    reference = Reference.parse(f"{registry.host}/app:1")
    try:
        return (await (await client.repository(reference)).document(reference)).content
    finally:
        await client.close()


async def test_a_certificate_of_nobody_is_refused(secure: FakeRegistry) -> None:
    with pytest.raises(SystemFailure, match="CERTIFICATE_VERIFY_FAILED"):
        await document_of(Checked(), secure)
    assert not secure.requests


async def test_a_certificate_of_the_configured_authority_is_trusted(secure: FakeRegistry, certificate: Path) -> None:
    manifest = secure.push("1", [])
    assert await document_of(Checked(ca_file=certificate), secure) == manifest


def test_certificates_are_checked_no_more_strictly_than_by_docker() -> None:
    assert not context(None, ca_file=None, verify=True).verify_flags & ssl.VERIFY_X509_STRICT


async def test_an_insecure_registrys_certificate_is_not_checked(secure: FakeRegistry) -> None:
    manifest = secure.push("1", [])
    assert await document_of(RegistryConfig(), secure) == manifest


async def test_a_redirect_from_https_to_http_is_refused(secure: FakeRegistry, certificate: Path) -> None:
    secure.lies["/manifests/1"] = lambda request: web.Response(
        status=307, headers={"Location": f"http://{secure.host}/v2/app/manifests/1"}
    )
    with pytest.raises(InvalidArgument, match="redirects to http, which is refused"):
        await document_of(Checked(ca_file=certificate), secure)


async def test_a_missing_ca_file_is_told_of(secure: FakeRegistry, tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match=r"No such file or directory"):
        await document_of(Checked(ca_file=tmp_path / "nowhere.pem"), secure)


@pytest.fixture
def certs_dir(secure: FakeRegistry, tmp_path: Path) -> Path:
    """The registry's certificate directory."""
    path = tmp_path / "certs.d" / secure.host
    path.mkdir(parents=True)
    return path


async def test_the_authority_in_a_registrys_directory_is_trusted(
    secure: FakeRegistry, certificate: Path, certs_dir: Path
) -> None:
    manifest = secure.push("1", [])
    config = Checked(certs_dirs=(certs_dir.parent / "nothing", certs_dir.parent))
    with pytest.raises(SystemFailure, match="CERTIFICATE_VERIFY_FAILED"):
        await document_of(config, secure)
    (certs_dir / "ca.crt").write_bytes(certificate.read_bytes())
    assert await document_of(config, secure) == manifest


@pytest.mark.parametrize("wants_certificate", [True])
async def test_a_registry_is_shown_the_certificate_for_it(
    secure: FakeRegistry, certificate: Path, certs_dir: Path
) -> None:
    manifest = secure.push("1", [])
    (certs_dir / "ca.crt").write_bytes(certificate.read_bytes())
    with pytest.raises(SystemFailure):
        await document_of(Checked(certs_dirs=(certs_dir.parent,)), secure)
    (certs_dir / "client.cert").write_bytes(certificate.read_bytes())
    (certs_dir / "client.key").write_bytes(certificate.read_bytes())
    assert await document_of(Checked(certs_dirs=(certs_dir.parent,)), secure) == manifest


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("client.cert", "missing key client.key for client certificate client.cert"),
        ("client.key", "missing client certificate client.cert for key client.key"),
    ],
)
async def test_half_of_a_pair_is_told_of(
    secure: FakeRegistry, certs_dir: Path, certificate: Path, name: str, message: str
) -> None:
    (certs_dir / name).write_bytes(certificate.read_bytes())
    with pytest.raises(InvalidArgument, match=message):
        await document_of(Checked(certs_dirs=(certs_dir.parent,)), secure)


async def test_a_certificate_that_is_none_is_told_of(secure: FakeRegistry, certs_dir: Path) -> None:
    (certs_dir / "ca.crt").write_text("nothing of the kind")
    with pytest.raises(SystemFailure, match=r"the certificates for .* can't be read"):
        await document_of(Checked(certs_dirs=(certs_dir.parent,)), secure)
