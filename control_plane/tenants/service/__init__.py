"""The verbs of the room tenants: tenants, their life, their configuration, purge and export."""
