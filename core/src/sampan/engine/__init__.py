"""The engine: jobs, the table of their handlers, and one way to run them. Depends on no other package of sampan."""

from sampan.engine.engine import Engine, EngineState, Handler
from sampan.engine.hooks import JobHook
from sampan.engine.job import Caller, Job, JobState, Output, Streams
from sampan.engine.log import JobFilter
from sampan.engine.metrics import Metrics
from sampan.engine.serial import Serial
from sampan.engine.slots import Limits, idle
from sampan.engine.workers import install_workers

__all__ = [
    "Caller",
    "Engine",
    "EngineState",
    "Handler",
    "Job",
    "JobFilter",
    "JobHook",
    "JobState",
    "Limits",
    "Metrics",
    "Output",
    "Serial",
    "Streams",
    "idle",
    "install_workers",
]
