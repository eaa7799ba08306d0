"""Standard streams: attach, exec, and the logs of their output."""
