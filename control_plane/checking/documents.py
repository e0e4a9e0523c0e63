"""What the configuration would be if it were published now, as it is stored or with a draft."""

import json
from pathlib import Path

from sqlalchemy.orm import Session

from control_plane import manifest
from control_plane.contract import check
from control_plane.core import plugins, tenancy
from control_plane.shipper import Base, Entry, LastGoodFile

_REVISION = (1, 1)


def write(session: Session, path: Path, draft: Path | None) -> list[str]:
    """Write all documents to *path* as a gateway's last good file; with a *draft*, as if applied.

    The session must be rolled back. Returns the documents that no gateway would take, and why.

    Raises:
        ManifestError: the draft cannot be read.
        RefusedError: the draft cannot be applied.
    """
    if draft is not None:
        manifest.apply(session, manifest.read(draft))
    unsound: list[str] = []
    base = Base(path, _REVISION)
    with tenancy.platform_context():
        for section in plugins.config_sections():
            for document_id, document in section.compile(session, None).items():
                problems = {} if document is None else check(section.name, document)
                if problems:
                    unsound.append(f"{section.name}/{document_id}: {problems}")
                elif document is not None:
                    value = f"{_REVISION[0]}:{_REVISION[1]}:{json.dumps(document)}"
                    base.add(Entry(f"{section.name}/{document_id}".encode(), value.encode()))
    LastGoodFile(path).replace(base, _REVISION, [], ())
    return unsound
