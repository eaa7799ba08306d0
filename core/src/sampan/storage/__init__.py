"""What drivers that keep snapshots in directories have in common, and the driver `copy`, which needs nothing else."""
