"""When each image was last used: pulled, loaded, tagged, pushed, saved, or by a container that is gone now."""

from __future__ import annotations

import sqlite3
import time
from datetime import datetime

from sampan.images.image import Image
from sampan.state import Database


class ImageUses:
    """Times in nanoseconds since the epoch, in memory and in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: dict[str, int] = {}

    def load(self) -> None:
        """Read the database. Blocks."""
        self._last = dict(
            self._database.read(
                lambda connection: connection.execute("SELECT image_id, used_at_ns FROM image_uses").fetchall()
            )
        )

    def last_ns(self, image: Image) -> int:
        """The time of the last use; if unknown, when it got its name here, or was created."""
        return self._last.get(image.id) or _nanoseconds(image.tagged_at or image.created)

    def note(self, image: Image, time_ns: int | None = None) -> int:
        """Record a use of the image, now if no time is given, until the daemon ends. Returns the time."""
        self._last[image.id] = time_ns or time.time_ns()
        return self._last[image.id]

    async def keep(self, image: Image, time_ns: int | None = None) -> None:
        """Record it for the next daemon too. It is not worth waiting for the disk."""
        row = (image.id, self.note(image, time_ns))

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO image_uses VALUES (?, ?)", row)

        await self._database.write(change, durable=False)


def _nanoseconds(text: str) -> int:
    """RFC 3339 as nanoseconds since the epoch; 0 for an invalid time."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    except ValueError:
        return 0
