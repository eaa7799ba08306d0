"""Everything a client can request, correctly or incorrectly, as scenarios for `test_differential`."""

from tests.compat.steps import containers, execs, files, life, system, things
from tests.support.steps import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    *containers.SCENARIOS,
    *execs.SCENARIOS,
    *files.SCENARIOS,
    *life.SCENARIOS,
    *system.SCENARIOS,
    *things.SCENARIOS,
)
