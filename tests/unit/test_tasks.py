import asyncio
import threading

import pytest

from sampan.tasks import end, in_thread, settled, to_the_end


class Deed:
    """Work in a thread that ends when the test allows."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.done = threading.Event(), threading.Event(), False

    def __call__(self) -> str:
        self.begun.set()
        self.go_on.wait(10)
        self.done = True
        return "done"

    async def cancelled_halfway(self, caller: asyncio.Future[str]) -> None:
        """Cancel `caller` twice while the work is running, then let it finish."""
        await asyncio.to_thread(self.begun.wait, 10)
        for _ in range(2):
            caller.cancel()
            await asyncio.sleep(0)
        assert not caller.done()
        self.go_on.set()


async def test_a_cancelled_caller_leaves_when_the_thread_has_ended() -> None:
    deed = Deed()
    caller = asyncio.ensure_future(in_thread(deed))
    await deed.cancelled_halfway(caller)
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert deed.done


async def test_what_is_done_to_the_end_is_answered_whoever_is_cancelled() -> None:
    deed = Deed()
    caller = asyncio.ensure_future(to_the_end(deed))
    await deed.cancelled_halfway(caller)
    assert await caller == "done"


@pytest.mark.parametrize("run", [in_thread, to_the_end])
async def test_an_error_of_the_thread_is_the_callers(run: object) -> None:
    assert callable(run)
    with pytest.raises(ZeroDivisionError):
        await run(lambda: 1 // 0)


async def test_tasks_that_fail_are_settled_too_and_nobody_complains() -> None:
    async def fail() -> None:
        raise ValueError("failed")

    failing, waiting = asyncio.ensure_future(fail()), asyncio.ensure_future(asyncio.Event().wait())
    await settled(failing)
    await end(failing, waiting)
    assert waiting.cancelled()
    assert isinstance(failing.exception(), ValueError)
