from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.digest import Digest
from sampan.errdefs import DataLoss, NotFound
from sampan.images.content import ContentStore, Ingest


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path)
    store.open({})
    return store


def test_a_blob_is_kept_under_its_digest(content: ContentStore) -> None:
    digest = content.put(b"document")
    assert digest == Digest.of(b"document")
    assert content.read(digest, 100) == b"document"
    assert content.size_bytes(digest) == 8
    assert content.path(digest).stat().st_mode & 0o777 == 0o600


def test_a_blob_of_another_digest_gets_no_name(content: ContentStore, tmp_path: Path) -> None:
    with content.ingest() as ingest:
        ingest.write(b"this")
        with pytest.raises(DataLoss, match="filesystem layer verification failed"):
            ingest.commit(Digest.of(b"that"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_ingest_without_a_commit_leaves_nothing(content: ContentStore, tmp_path: Path) -> None:
    with content.ingest() as ingest:
        ingest.write(b"half")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_blob_that_changed_on_the_disk_is_not_read(content: ContentStore) -> None:
    digest = content.put(b"document")
    content.path(digest).write_bytes(b"documenT")
    with pytest.raises(DataLoss, match="has changed on the disk"):
        content.read(digest, 100)


def test_a_blob_that_is_not_here_is_not_found(content: ContentStore) -> None:
    with pytest.raises(NotFound):
        content.read(Digest.of(b"x"), 100)
    content.remove(Digest.of(b"x"))


def test_a_large_blob_is_not_read_whole(content: ContentStore) -> None:
    with pytest.raises(DataLoss, match="larger than 3 bytes"):
        content.read(content.put(b"document"), 3)


def test_opening_keeps_only_what_is_expected(content: ContentStore, tmp_path: Path) -> None:
    kept, cut, lone = content.put(b"kept"), content.put(b"cut"), content.put(b"lone")
    (tmp_path / "ingest/half").write_bytes(b"half")
    (tmp_path / "blobs/sha256/no digest").write_bytes(b"?")
    again = ContentStore(tmp_path)
    assert set(again.open({kept: None, cut: 1000})) == {cut, lone}
    assert list(again) == [kept]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [kept.hex]


def test_only_a_blob_of_this_store_is_fresh(content: ContentStore, tmp_path: Path) -> None:
    digest = content.put(b"document")
    assert content.is_fresh(digest)
    again = ContentStore(tmp_path)
    again.open({digest: None})
    assert digest in again and not again.is_fresh(digest)
    content.remove(digest)
    assert not content.is_fresh(digest)


def test_what_is_begun_while_strays_are_looked_for_is_none(
    content: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Ingest] = []
    listed = Path.iterdir

    def begin_and_list(directory: Path) -> Iterator[Path]:
        begun.append(content.ingest())
        return listed(directory)

    stray = content.path(Digest.of(b"stray"))
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"stray")
    monkeypatch.setattr(Path, "iterdir", begin_and_list)
    assert content.strays() == [stray]
    for ingest in begun:
        ingest.close()
