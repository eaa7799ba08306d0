import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errdefs import InvalidArgument, NotFound, SampanError
from sampan.images.manifest import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    Manifest,
    choose,
    parse_config,
    parse_document,
)
from sampan.images.platform import Platform

DIGEST = "sha256:" + "ab" * 32


def blob(media_type: str = "application/vnd.oci.image.layer.v1.tar", **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": DIGEST, "size": 5, **more}


def manifest(**more: Any) -> dict[str, Any]:
    config = blob("application/vnd.oci.image.config.v1+json")
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [blob()], **more}


def index(*platforms: str, **more: Any) -> dict[str, Any]:
    entries = []
    for number, text in enumerate(platforms):
        names = dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))
        entries.append(blob(OCI_MANIFEST, platform=names, digest=f"sha256:{number:064x}"))
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **more}


def parse(document: Any, media_type: str | None = None) -> Manifest | Index:
    return parse_document(json.dumps(document).encode(), media_type)


def test_a_manifest_and_an_index_are_told_apart() -> None:
    assert isinstance(parse(manifest()), Manifest)
    assert isinstance(parse(manifest(mediaType=DOCKER_MANIFEST)), Manifest)
    assert isinstance(parse(index("linux/amd64")), Index)
    assert isinstance(parse(index("linux/amd64", mediaType=DOCKER_INDEX)), Index)


def test_the_kind_may_come_from_the_header_or_the_fields() -> None:
    bare = manifest()
    del bare["mediaType"]
    assert isinstance(parse(bare, OCI_MANIFEST + "; charset=utf-8"), Manifest)
    assert isinstance(parse(bare), Manifest)
    assert isinstance(parse(bare, "application/json"), Manifest)


@pytest.mark.parametrize(
    ("document", "called", "message"),
    [
        (manifest(manifests=[]), None, "should not have"),
        (index(config=blob()), None, "should not have"),
        (index(layers=[]), None, "should not have"),
        (manifest(), OCI_INDEX, "says that it is of type"),
        (manifest(), DOCKER_MANIFEST, "says that it is of type"),
        (manifest(mediaType="text/plain"), None, "unsupported media type text/plain"),
        (manifest(schemaVersion=1), None, "unsupported manifest format"),
        (manifest(fsLayers=[]), None, "schema 1 support has been removed"),
        (manifest(mediaType="application/vnd.docker.distribution.manifest.v1+prettyjws"), None, "schema 1"),
        (manifest(layers={}), None, "unsupported manifest format"),
        (manifest(config=None), None, "unsupported manifest format"),
        (manifest(layers=[blob(size=-1)]), None, "invalid size"),
        (manifest(layers=[blob(size=True)]), None, "invalid size"),
        (manifest(layers=[blob(size=1 << 50)]), None, "invalid size"),
        (manifest(layers=[blob(digest="sha256:../../etc")]), None, "invalid checksum digest format"),
        (manifest(config=blob("application/vnd.docker.plugin.v1+json")), None, "plugin"),
        (manifest(config=blob("application/vnd.cncf.helm.config.v1+json")), None, "unsupported media type"),
        ({"schemaVersion": 2}, None, "cannot determine"),
        ({"schemaVersion": 2, "config": blob(), "layers": [], "manifests": []}, None, "cannot determine"),
        ([], None, "not a JSON object"),
    ],
)
def test_a_document_that_lies_or_could_be_two_things_is_refused(
    document: Any, called: str | None, message: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse(document, called)
    assert message in str(refused.value)


def test_a_document_that_is_too_large_or_too_deep_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="larger than"):
        parse_document(b" " * (4 << 20) + b"{}")
    with pytest.raises(InvalidArgument, match="not JSON"):
        parse_document(b"[" * 1_000_000)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "schemaVersion",
                        "mediaType",
                        "config",
                        "layers",
                        "manifests",
                        "digest",
                        "size",
                        "platform",
                        "rootfs",
                        "diff_ids",
                        "os",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_no_json_breaks_the_parsers(document: Any) -> None:
    for parser in (parse_document, parse_config):
        try:
            parser(json.dumps(document).encode())
        except SampanError:
            continue


def test_the_nearest_platform_is_chosen() -> None:
    found = parse(index("linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64", "windows/amd64"))
    assert isinstance(found, Index)

    def chosen(text: str) -> int:
        return int(choose(found, Platform.parse(text)).digest.hex, 16)

    assert chosen("linux/arm/v7") == 1
    assert chosen("linux/arm/v6") == 0
    assert chosen("linux/arm64") == 2
    assert chosen("amd64") == 3
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        choose(found, Platform.parse("linux/s390x"))


@pytest.mark.parametrize("variant", ["v\u00b2", "v" + "9" * 5000, "v", "\u00b2"])
def test_a_variant_that_is_no_level_is_not_the_nearest(variant: str) -> None:
    found = parse(index(f"linux/arm/{variant}", "linux/arm/v7"))
    assert isinstance(found, Index)
    assert int(choose(found, Platform.parse("linux/arm/v7")).digest.hex, 16) == 1


def test_attestations_are_never_chosen() -> None:
    found = parse(index("unknown/unknown", "linux/amd64"))
    assert isinstance(found, Index)
    assert int(choose(found, Platform.parse("linux/amd64")).digest.hex, 16) == 1


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux//v7", "linux/am d64"])
def test_a_bad_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "no RootFS key"),
        ({"rootfs": {"diff_ids": "x"}}, "invalid rootfs"),
        ({"rootfs": {"diff_ids": [1]}}, "invalid rootfs"),
        ({"rootfs": {"diff_ids": ["sha256:zz"]}}, "invalid checksum digest format"),
        ({"rootfs": {}, "os": "windows"}, "operating system is not supported"),
        ({"rootfs": {}, "config": [1]}, "invalid config"),
        ({"rootfs": {}, "author": 5}, "invalid author in image configuration"),
        ({"rootfs": {}, "created": {}}, "invalid created"),
        ({"rootfs": {}, "history": {"comment": "x"}}, "invalid history"),
        ({"rootfs": {}, "history": ["x"]}, r"invalid history\.0"),
        ({"rootfs": {}, "history": [{"comment": []}]}, r"invalid history\.0\.comment"),
        ({"rootfs": {}, "config": {"Labels": "x"}}, r"invalid config\.Labels in image configuration"),
        ({"rootfs": {}, "config": {"labels": {"a": 1}}}, r"invalid config\.labels\.a"),
        ({"rootfs": {}, "config": {"Env": "A=b"}}, r"invalid config\.Env"),
        ({"rootfs": {}, "config": {"Cmd": [1]}}, r"invalid config\.Cmd\.0"),
        ({"rootfs": {}, "config": {"Entrypoint": {}}}, r"invalid config\.Entrypoint"),
        ({"rootfs": {}, "config": {"ExposedPorts": ["80"]}}, r"invalid config\.ExposedPorts"),
        ({"rootfs": {}, "config": {"Volumes": {"/x": 1}}}, r"invalid config\.Volumes\./x"),
        ({"rootfs": {}, "config": {"User": 0}}, r"invalid config\.User"),
        ({"rootfs": {}, "config": {"User": "\ud800"}}, "the image configuration is not JSON: unexpected end of hex"),
        ({"rootfs": {}, "config": {"Env": [5] * 2000}}, "2000 values are of another type"),
        ([], "the image configuration is not a JSON object"),
        ({"rootfs": {}, "config": {"WorkingDir": []}}, r"invalid config\.WorkingDir"),
        ({"rootfs": {}, "config": {"StopSignal": 9}}, r"invalid config\.StopSignal"),
        ({"rootfs": {}, "config": {"StopTimeout": 1 << 80}}, r"invalid config\.StopTimeout"),
        ({"rootfs": {}, "config": {"Healthcheck": {"Interval": "1s"}}}, r"invalid config\.Healthcheck\.Interval"),
    ],
)
def test_a_bad_config_is_refused(config: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_config(json.dumps(config).encode())


def test_of_a_config_only_what_is_used_is_kept() -> None:
    config = {
        "rootfs": {"type": "layers", "diff_ids": [DIGEST], "base": "x"},
        "os.version": "1",
        "docker_version": "20.10",
        "author": None,
        "config": {
            "labels": {"a": "b"},
            "Cmd": "sh",
            "Env": None,
            "Hostname": "",
            "Secret": 5,
            "Volumes": {"/x": {"y": "z"}},
        },
        "history": [{"created_by": "RUN x", "more": 1}, {"empty_layer": True}],
    }
    parsed = parse_config(json.dumps(config).encode())
    assert parsed.diff_ids == (DIGEST,)
    assert parsed.document == {
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
        "os.version": "1",
        "config": {"Labels": {"a": "b"}, "Cmd": ["sh"], "Hostname": "", "Volumes": {"/x": {}}},
        "history": [{"created_by": "RUN x"}, {"empty_layer": True}],
    }
