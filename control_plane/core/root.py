"""Finds the tree that the product runs from, in a checkout and in an image."""

from pathlib import Path


def project_root() -> Path:
    """Return the folder that holds `config/`, `openresty/` and `templates/`."""
    return Path(__file__).resolve().parents[2]
