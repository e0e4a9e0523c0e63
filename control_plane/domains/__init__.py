"""Domain names of tenants: claimed, proved, and published as the hosts that route to them."""
