"""What gunicorn serves: the installation that YUMEN_CONFIG and YUMEN_STATE name."""

import os
from pathlib import Path

from control_plane.app import create_app
from control_plane.core.settings import load_settings


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


app = create_app(load_settings(_path("YUMEN_CONFIG"), _path("YUMEN_STATE"), os.environ))
