"""A container's settings: checked, completed, and said in the terms of the kernel and the OCI runtime."""
