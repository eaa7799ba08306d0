"""The image store, as used by the daemon."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.digest import Digest
from sampan.drivers import StorageDriver
from sampan.errdefs import InvalidArgument, NotFound, SystemFailure
from sampan.images import import_
from sampan.images.archive import Loader
from sampan.images.check import Checker, Owned, Problem
from sampan.images.commit import Committed
from sampan.images.content import ContentStore
from sampan.images.garbage import Garbage
from sampan.images.history import Step, steps
from sampan.images.image import Image
from sampan.images.index import ImageIndex, NewImage
from sampan.images.init_snapshot import init_name, make_mount_points
from sampan.images.interruption import may_go_on
from sampan.images.layer_maker import KEY_PREFIX, Layer, LayerMaker
from sampan.images.layers import Layers
from sampan.images.leases import Lease, Leases
from sampan.images.manifest import parse_config
from sampan.images.mend import Mended, Mender
from sampan.images.mounted import mounted, unmount_left
from sampan.images.parts import StoreParts
from sampan.images.platform import Platform, host_platform
from sampan.images.progress import Progress, relay
from sampan.images.reference import Reference
from sampan.images.registry_config import RegistryAuth, RegistryConfig
from sampan.images.remove import ImageUser, Removed, Remover, Users
from sampan.images.save import Saver, check_platform
from sampan.images.uses import ImageUses
from sampan.state import Database
from sampan.tasks import in_thread

if TYPE_CHECKING:
    from sampan.images.distribution import Distribution
    from sampan.images.remote import Remote
    from sampan.images.search import SearchHit
    from sampan.images.web_file import WebFile

__all__ = [
    "Image",
    "ImageStore",
    "ImageUser",
    "Progress",
    "Reference",
    "RegistryAuth",
    "RegistryConfig",
    "Removed",
]


class ImageStore:
    """All images of one data root: their blobs below `root`, their files in the storage driver, the rest in SQLite.

    Reading (`get`, `list`) uses only memory. Use it within one event loop.
    """

    def __init__(self, root: Path, storage: StorageDriver, database: Database, *, registries: RegistryConfig) -> None:
        self._storage = storage
        self._mounts_dir = root / "mounts"
        self._content = ContentStore(root / "content")
        self._index = ImageIndex(database)
        self._uses = ImageUses(database)
        self._leases = Leases()
        self._registries = registries
        self._remote: Remote | None = None
        self._maker = LayerMaker(storage, self._content, self._mounts_dir, downloads=registries.downloads)
        self._layers = Layers(self._maker, self._index.update_layer)
        self._garbage = Garbage(storage, self._content, self._layers, self._index, self._leases)
        self._parts = StoreParts(storage, self._content, self._layers, self._index, self._leases, self._garbage)
        self._init_lock = asyncio.Lock()
        self._init_key = ""
        self._check_lock = asyncio.Lock()

    async def open(self) -> None:
        """Load the images, and remove what a killed daemon left half done.

        To be called before anything else. Raises `SystemFailure` if the data root can't be read or written.
        """
        try:
            await asyncio.to_thread(self._reconcile)
        except OSError as error:
            raise SystemFailure(f"the image store can't be opened: {error}") from error
        await self._index.drop_lost()
        await self.collect_garbage()

    def reach_by(self, registries: RegistryConfig) -> None:
        """Use another configuration of registries from now on. Operations in progress end with the old one."""
        self._registries = registries
        self._maker.fetch_at_once(registries.downloads)
        if self._remote:
            self._remote.reach_by(registries)

    async def close(self) -> None:
        """Close the connections to registries."""
        if self._remote:
            await self._remote.close()

    def get(self, name: str, *, platform: str | None = None) -> Image:
        """The image with this reference, or full or abbreviated ID, if it is for `platform`.

        Raises `NotFound` (`No such image: alpine:latest`), or `InvalidArgument` for what can't be a name.
        """
        image = self._index.get(name)
        if platform:
            check_platform(image, name, [Platform.parse(platform)])
        return image

    def list(self) -> builtins.list[Image]:
        """All images, in no order."""
        return self._index.list()

    def last_used_ns(self, image: Image) -> int:
        """When the image was last used, in nanoseconds since the epoch; if it is in use, when that started."""
        return self._uses.last_ns(image)

    async def note_use(self, image: Image, time_ns: int | None = None) -> None:
        """Record a use of the image, now if no time is given. No error if it is gone."""
        if self._index.find_by_id(image.id):
            await self._uses.keep(image, time_ns)

    def shared_bytes(self, image: Image) -> int:
        """The size of those of an image's layers that other images have too, in bytes."""
        users = self._index.layer_users()
        return sum(self._layers.get(one).size_bytes for one in image.layers if users[one] > 1)

    def count_layers(self) -> int:
        """How many layers there are."""
        return len(self._layers.list())

    def count_blobs(self) -> int:
        """How many blobs there are."""
        return len(list(self._content))

    async def disk_bytes(self) -> int:
        """The disk space of all images: their files, the mount points created on top of them, and blobs."""
        return await asyncio.to_thread(self._disk_bytes)

    async def pull(
        self, reference: Reference, *, platform: str | None, auth: RegistryAuth | None, progress: Progress
    ) -> Image:
        """Pull `reference` (all tags, if it has neither tag nor digest) for `platform`, this machine's if `None`.

        The registry gets `auth` if it asks for it. Sends Docker's items to `progress`. Raises `NotFound`,
        `Unauthorized`, `Unavailable`, `InvalidArgument`, `DataLoss`, `SystemFailure`; then, and if cancelled, nothing
        is left except what another attempt can continue with.
        """
        wanted = Platform.parse(platform) if platform else host_platform()
        remote = await self._reach()
        async with self._lease() as lease, self._going_on(lease):
            image = await relay(progress, lambda report: remote.pull(reference, wanted, auth, lease, report))
        await self.note_use(image)
        return image

    async def push(self, reference: Reference, *, auth: RegistryAuth | None, progress: Progress) -> None:
        """Push `reference`, or all tags of its repository if it has none. Sends Docker's items to `progress`.

        Raises `NotFound`, `Unauthorized`, `Unavailable`, `InvalidArgument`, `SystemFailure`.
        """
        remote = await self._reach()
        async with self._lease() as lease:
            await relay(progress, lambda report: remote.push(reference, auth, lease, report))
        await self.collect_garbage()  # bare tars of layers that are compressed now

    async def login(self, auth: RegistryAuth) -> str:
        """Have the registry `auth.server` (Docker Hub if empty) check the credentials.

        Returns the identity token to use instead of the password from now on; "" if it gives none. Raises
        `Unauthorized`, `SystemFailure`, `InvalidArgument`.
        """
        return await (await self._reach()).login(auth)

    async def describe(self, reference: Reference, *, auth: RegistryAuth | None) -> Distribution:
        """What the registry has under `reference`. Raises as `pull` does."""
        return await (await self._reach()).describe(reference, auth)

    async def search(self, term: str, *, limit: int, auth: RegistryAuth | None) -> builtins.list[SearchHit]:
        """Search a registry for images. Raises `NotFound` if it has no search, and as `pull` does."""
        return await (await self._reach()).search(term, limit, auth)

    def history(self, image: Image) -> builtins.list[Step]:
        """How `image` was built, newest step first."""
        return steps(image, [self._layers.get(chain_id) for chain_id in image.layers])

    async def save(self, names: Sequence[str], *, platforms: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """The archive of all images of `names` (tags, IDs, or repositories with all their tags). Close it.

        Raises `NotFound` before the first byte, `DataLoss`, `SystemFailure`.
        """
        wanted = [Platform.parse(text) for text in platforms]
        async with self._leases.lease() as lease:
            async for piece in Saver(self._content, self._layers, self._index, lease).save(names, wanted):
                yield piece

    async def load(
        self, body: AsyncIterator[bytes], *, progress: Progress, quiet: bool, platforms: Sequence[str] = ()
    ) -> builtins.list[Image]:
        """Load the images of a docker-archive or an OCI archive, compressed or not; returns them.

        With `platforms`, only those for one of them. Sends `Loading layer` (unless `quiet`) and `Loaded image` items.
        Raises as `pull` does, leaving nothing behind.
        """
        wanted = [Platform.parse(text) for text in platforms]
        async with self._lease() as lease:
            loader = Loader(self._content, self._layers, self._index, lease, wanted)
            images = await relay(progress, lambda report: loader.load(body, report, quiet=quiet))
        for image in images:
            await self.note_use(image)
        await self.collect_garbage()  # everything in the archive that is not part of an image
        return images

    async def import_(
        self,
        body: AsyncIterator[bytes],
        *,
        reference: Reference | None,
        changes: Sequence[str],
        message: str,
        platform: str | None,
    ) -> Image:
        """Create an image with one layer from the tar of a root file system, compressed or not.

        `changes` are Dockerfile instructions. Raises `InvalidArgument`, `DataLoss`, `SystemFailure`, leaving nothing
        behind.
        """
        config = import_.ImportConfig(changes, message, Platform.parse(platform) if platform else host_platform())
        async with self._lease() as lease:
            layer = await self._layers.add(body, lease)
            return await self._add(config.document(layer.diff_id), [layer], reference, lease)

    @asynccontextmanager
    async def web_file(self, source: str) -> AsyncIterator[WebFile]:
        """The content of the URL `source`, to be imported. Raises as `sampan.images.web_file.web_file` does."""
        async with (await self._reach()).web_file(source) as file:
            yield file

    async def commit(
        self, parent: Image, body: AsyncIterator[bytes] | None, committed: Committed, reference: Reference | None
    ) -> Image:
        """Create an image from `parent` and, unless it is `None`, a layer on top of it: the tar `body`.

        Raises the errors of `body`, `InvalidArgument`, `DataLoss`, `SystemFailure`, leaving nothing behind.
        """
        async with self._lease() as lease:
            await lease.add(*parent.layers, parent.id)
            layers = [self._layers.get(chain_id) for chain_id in parent.layers]
            diff_id = None
            if body is not None:
                layers.append(await self._layers.add(body, lease, layers[-1] if layers else None))
                diff_id = layers[-1].diff_id
            return await self._add(committed.document(parent.config, diff_id), layers, reference, lease)

    async def _add(
        self, document: bytes, layers: Sequence[Layer], reference: Reference | None, lease: Lease
    ) -> Image:
        config = parse_config(document)
        await lease.add(Digest.of(document))
        id = await in_thread(self._content.put, document)
        new = NewImage(id, config.document, tuple(layers))
        image = await self._index.add(new, [reference.tagged()] if reference else [])
        await self.note_use(image)
        return image

    async def tag(self, image: Image, reference: Reference) -> Image:
        """Give `image` the tag `reference` (`latest` if it has none), taking it from any other image.

        Raises `InvalidArgument` if it is a digest.
        """
        if reference.digest is not None:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        await self.note_use(image)
        return await self._index.name(image.id, [reference.tagged()])

    async def remove(self, name: str, *, force: bool, in_use: Users) -> builtins.list[Removed]:
        """Untag or delete as `docker rmi` does; `in_use` returns the containers of an image.

        Raises `NotFound`, `Conflict` with Docker's message.
        """
        removed = await Remover(self._index, in_use).remove(name, force=force)
        if any(one.deleted for one in removed):
            removed += [Removed(deleted=chain_id) for chain_id in await self.collect_garbage()]
        return removed

    async def collect_garbage(self) -> builtins.list[Digest]:
        """Remove layers and blobs that nobody uses any more, and return the layers' chain IDs.

        The daemon calls it after removing the last container of an image that is gone.
        """
        await self._garbage.collect_blobs()  # needs no disk space, and makes room for the rest
        await self._maker.clear()
        return await self._garbage.collect()

    async def forget_begun(self) -> int:
        """Remove what interrupted pulls have left for later ones; returns the number of bytes freed."""
        return await in_thread(self._content.begun.clear)

    @asynccontextmanager
    async def held(self, image: Image) -> AsyncIterator[None]:
        """In this context, the layers of `image` stay even if it is removed, so that a snapshot can be put on top.

        Raises `NotFound` if it is already gone.
        """
        async with self._leases.lease() as lease:
            await lease.add(*image.layers)
            if self._index.find_by_id(image.id) is None:
                raise NotFound(f"No such image: {image.id}")
            yield

    async def check(self, owned: Owned, *, files: bool = False) -> builtins.list[Problem]:
        """All problems in the store; `owned` says which snapshots belong to containers. Changes nothing.

        With `files`, each layer's files are also compared with its blob, for which the layer is unpacked again.
        Raises `SystemFailure`.
        """
        async with self._check_lock:
            problems = await self._find_problems(owned, files=files)
        if files:
            await self.collect_garbage()  # leased during the check
        return problems

    async def repair(self, owned: Owned, *, files: bool = False) -> builtins.list[Mended]:
        """Check, and repair what can be repaired. Raises `SystemFailure`."""
        async with self._check_lock:
            problems = await self._find_problems(owned, files=files)
            mended = await Mender(self._parts).mend(problems)
        await self.collect_garbage()
        return mended

    async def _find_problems(self, owned: Owned, *, files: bool) -> builtins.list[Problem]:
        return await Checker(self._parts).find(
            owned, lambda key: key == self._init_key or self._layers.is_writing(key), files=files
        )

    async def init_snapshot(self, image: Image) -> str:
        """The name of the committed snapshot for containers of `image`. Raises `SystemFailure`.

        It has the image's files, and on top the mount points that the engine needs. It is created once for all images
        with these layers.
        """
        name = init_name(image.snapshot)
        self._uses.note(image)
        async with self._init_lock:
            self._init_key = KEY_PREFIX + name
            try:
                await in_thread(self._make_init, name, image.snapshot)
            finally:
                self._init_key = ""
        return name

    def _make_init(self, name: str, snapshot: str | None) -> None:
        try:
            self._storage.stat(name)
        except NotFound:
            pass
        else:
            return
        key = KEY_PREFIX + name
        with suppress(NotFound):  # an earlier attempt may have left it on a full disk
            self._storage.remove(key)
        try:
            with mounted(self._storage.prepare(key, snapshot), self._mounts_dir) as rootfs:
                make_mount_points(rootfs)
            self._storage.commit(name, key)
        except OSError as error:
            raise SystemFailure(f"the init layer of {snapshot} can't be made: {error}") from error

    def _reconcile(self) -> None:
        self._mounts_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        unmount_left(self._mounts_dir)
        self._uses.load()
        self._layers.adopt(self._index.load({snapshot.name for snapshot in self._storage.list()}))
        self._garbage.clear_snapshots()
        self._content.open(self._garbage.needed_blobs())

    async def _reach(self) -> Remote:
        """The registry code, imported late."""
        if self._remote is None:
            await asyncio.to_thread(import_module, "sampan.images.remote")
            from sampan.images.remote import Remote  # noqa: PLC0415

            self._remote = self._remote or Remote(self._registries, self._content, self._layers, self._index)
        return self._remote

    def _disk_bytes(self) -> int:
        names = {name for layer in self._layers.list() for name in (layer.chain_id, init_name(layer.chain_id))}
        there = names & {snapshot.name for snapshot in self._storage.list()}
        return sum(self._storage.usage(name).size_bytes for name in there) + self._content.total_bytes()

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[Lease]:
        """A lease for creating an image. If that fails, what was leased becomes garbage."""
        try:
            async with self._leases.lease() as lease:
                yield lease
        except BaseException:
            await self.collect_garbage()
            raise

    @asynccontextmanager
    async def _going_on(self, lease: Lease) -> AsyncIterator[None]:
        """In this context, downloads are kept for another attempt only if this one is interrupted."""
        try:
            yield
        except BaseException as error:
            if not may_go_on(error):
                await in_thread(self._content.begun.forget, lease.digests)
            raise
        await in_thread(self._content.begun.forget, lease.digests)
