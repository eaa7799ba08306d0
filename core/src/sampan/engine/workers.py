"""Worker threads for blocking work: syscalls, netlink, files, processes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor


def install_workers(threads: int) -> ThreadPoolExecutor:
    """Limit `asyncio.to_thread` in the running loop to `threads` workers."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix="worker")
    asyncio.get_running_loop().set_default_executor(executor)
    return executor
