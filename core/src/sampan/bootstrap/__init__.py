"""The only room that knows every part: configuration → drivers → daemon → engine → app → server."""

from sampan.bootstrap.serve import run

__all__ = ["run"]
