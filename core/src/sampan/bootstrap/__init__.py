"""The only package that knows all others: configuration → drivers → daemon → engine → app → server."""

from sampan.bootstrap.serve import run

__all__ = ["run"]
