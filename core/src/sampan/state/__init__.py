"""State that outlives the daemon: SQLite."""

from sampan.state.database import Database

__all__ = ["Database"]
