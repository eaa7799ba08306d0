"""A container's settings: checked, completed, and translated to the terms of the kernel and the OCI runtime."""
