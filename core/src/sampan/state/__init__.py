"""Persistent state of the daemon, in SQLite."""

from sampan.state.database import Change, Database

__all__ = ["Change", "Database"]
