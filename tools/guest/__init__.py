"""A disposable guest kernel for tests that need a pure cgroup v2 hierarchy, on hosts without one.

    python -m tools.guest [--engine native|uml|qemu] [--timeout SECONDS] [--silence SECONDS] -- COMMAND…

The guest sees the host's files at the same paths; its writes are kept in memory and lost at its end. cgroup2 is
mounted on /sys/fs/cgroup with every controller, loopback is up, and there is no other interface. The command's output
and exit status are passed on. 124 means that it timed out, or produced no output for too long: then the guest shows
what its processes and its kernel are doing. 125 means that no guest could be started.
"""
