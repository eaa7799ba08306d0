"""Logging to stderr, as text or as one JSON object per line."""

from __future__ import annotations

import json
import logging
import sys

from sampan.config import DaemonConfig
from sampan.engine import JobFilter

_LIBRARIES = ("asyncio", "pyroute2")  # too verbose at level DEBUG


class _JsonFormatter(logging.Formatter):
    """Formats each record as a JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "job": getattr(record, "job", "-"),
            "msg": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_level(config: DaemonConfig) -> str:
    """The configured minimum level, by its name in `logging`."""
    return "DEBUG" if config.debug else config.log_level.upper().replace("FATAL", "CRITICAL")


def log_to_stderr(config: DaemonConfig) -> None:
    """Set up logging as configured."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(JobFilter())
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(job)s] %(message)s")
    handler.setFormatter(_JsonFormatter() if config.log_format == "json" else text)
    logging.basicConfig(level=log_level(config), handlers=[handler], force=True)
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
