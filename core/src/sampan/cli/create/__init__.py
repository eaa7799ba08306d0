"""Converts the flags of `run` and `create` to the body of `POST /containers/create`, as docker does."""
