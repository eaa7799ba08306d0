"""State that outlives the daemon: SQLite."""

from sampan.state.database import Change, Database

__all__ = ["Change", "Database"]
