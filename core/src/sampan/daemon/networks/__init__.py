"""Networks, and the endpoints of containers in them."""
