"""The log, on stderr: text, or a JSON object a line."""

from __future__ import annotations

import json
import logging
import sys

from sampan.config import DaemonConfig
from sampan.engine import JobFilter

_LIBRARIES = ("asyncio", "pyroute2")  # which would fill the log of `--debug` with their own doings


class _JsonFormatter(logging.Formatter):
    """A JSON object a line."""

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
    """What the log is told from on, in the words of `logging`."""
    return "DEBUG" if config.debug else config.log_level.upper().replace("FATAL", "CRITICAL")


def log_to_stderr(config: DaemonConfig) -> None:
    """Have all that is logged written as the configuration says."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(JobFilter())
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(job)s] %(message)s")
    handler.setFormatter(_JsonFormatter() if config.log_format == "json" else text)
    logging.basicConfig(level=log_level(config), handlers=[handler], force=True)
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
