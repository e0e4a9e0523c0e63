"""The whole configuration as text: `yumen export` writes it, `yumen apply` makes it so."""

from control_plane.manifest.applying import RefusedError, apply
from control_plane.manifest.files import ManifestError, read

__all__ = ["ManifestError", "RefusedError", "apply", "read"]
