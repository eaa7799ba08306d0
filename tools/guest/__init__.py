"""A throw-away guest kernel for tests that need cgroup v2 alone, on hosts that have it otherwise.

    python -m tools.guest [--engine native|uml|qemu] [--timeout SECONDS] [--silence SECONDS] -- COMMAND…

The guest sees the host's files at the same paths; what it writes goes into memory and is gone at its end. cgroup2 is
mounted on /sys/fs/cgroup with every controller, loopback is up, and there is no other interface. The command's output
is passed on, and its exit status is this program's. 124 means that its time was over, or that it said nothing any
more: then the guest shows what its processes and its kernel do. 125 means that there was no guest.
"""
