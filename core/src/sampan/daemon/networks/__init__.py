"""Networks, and the places that containers have in them."""
