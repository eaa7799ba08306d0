"""A resource driver for hosts that several tenants share: each has one budget for all of its containers."""
