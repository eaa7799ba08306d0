"""Common code of drivers that keep snapshots in directories, and the `copy` driver, which needs nothing else."""
