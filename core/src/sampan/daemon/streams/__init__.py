"""Standard streams: attach, exec, and the logs that are kept of them."""
