"""What happens to a container: made, started, paused, ended, restarted, removed."""
