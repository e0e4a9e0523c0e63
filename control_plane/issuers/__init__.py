"""Issuers (签发方): whose tokens name a tenant's end users at the gateway, and by which keys."""
