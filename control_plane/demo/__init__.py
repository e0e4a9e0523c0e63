"""The demo: a tenant to try Yumen with, and the upstream that answers it."""
