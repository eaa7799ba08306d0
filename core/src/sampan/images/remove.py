"""What `docker rmi` may remove, and in which order. Rules and messages: moby daemon/images/image_delete.go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sampan.errdefs import Conflict
from sampan.images.image import Image
from sampan.images.index import ImageIndex
from sampan.images.progress import short
from sampan.images.reference import Reference, parse_id


@dataclass(frozen=True)
class ImageUser:
    """A container that was created from an image."""

    id: str
    running: bool


@dataclass(frozen=True)
class Removed:
    """One item of a removal's result: a name that was removed, or the ID of an image or layer that is gone."""

    untagged: str | None = None
    deleted: str | None = None


Users = Callable[[Image], Sequence[ImageUser]]


class Remover:
    """Removes names and images from an index; the resulting garbage is collected separately."""

    def __init__(self, index: ImageIndex, users: Users) -> None:
        self._index = index
        self._users = users

    async def remove(self, name: str, *, force: bool) -> list[Removed]:
        """Remove the name, and the image with its last name; or the image, if `name` is its ID.

        Raises `NotFound`, `Conflict` with Docker's message.
        """
        image = self._index.get(name)
        if parse_id(name) is None and self._index.find(Reference.parse(name)):
            return await self._remove_by_name(image, name, force=force)
        return await self._remove_by_id(image, force=force)

    async def _remove_by_name(self, image: Image, name: str, *, force: bool) -> list[Removed]:
        names = self._index.names_of(image)
        users = self._users(image)
        if not force and users and _is_single(names):
            raise Conflict(
                f'conflict: unable to remove repository reference "{name}" (must force) - '
                f"container {users[0].id[:12]} is using its referenced image {short(image.id)}"
            )
        going = _with_lone_digests(Reference.parse(name).tagged(), names)
        await self._index.remove_names(going)
        removed = [Removed(untagged=one.familiar) for one in going]
        if self._index.names_of(image) or self._conflict(image, force=force, names=False):
            return removed
        await self._index.remove(image)
        return [*removed, Removed(deleted=image.id)]

    async def _remove_by_id(self, image: Image, *, force: bool) -> list[Removed]:
        names = self._index.names_of(image)
        if conflict := self._conflict(image, force=force, names=not _is_single(names)):
            raise conflict
        await self._index.remove(image)
        return [*(Removed(untagged=one.familiar) for one in names), Removed(deleted=image.id)]

    def _conflict(self, image: Image, *, force: bool, names: bool) -> Conflict | None:
        """Why the image can't be deleted; names are considered only if `names`."""
        users = self._users(image)
        running = next((user for user in users if user.running), None)
        if running:
            return _conflict(image, "cannot be forced", f"image is being used by running container {running.id[:12]}")
        if force:
            return None
        if names and self._index.names_of(image):
            return _conflict(image, "must be forced", "image is referenced in multiple repositories")
        if users:
            return _conflict(image, "must be forced", f"image is being used by stopped container {users[0].id[:12]}")
        return None


def _conflict(image: Image, how: str, why: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {short(image.id)} ({how}) - {why}")


def _is_single(names: Sequence[Reference]) -> bool:
    """Whether all names are in one repository, with at most one tag."""
    tags = [name for name in names if name.digest is None]
    return len({name.name for name in names}) == 1 and len(tags) <= 1


def _with_lone_digests(name: Reference, names: Sequence[Reference]) -> list[Reference]:
    """`name`, and if it is the last tag of its repository, also the digests of that repository."""
    if name.digest is not None:
        return [name.with_digest(name.digest)]
    rest = [one for one in names if one.name == name.name and one != name]
    return [name] if any(one.digest is None for one in rest) else [name, *rest]
