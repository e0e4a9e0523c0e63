"""What a demo installation remembers in STATE/demo.json, for its owner's eyes only."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass
class DemoRecord:
    """Credentials of the demo, in clear: a demo is there to be tried."""

    operator_password: str | None = None
    upstream_port: int | None = None
    tenant_id: str | None = None
    domain: str | None = None
    api_key: str | None = None
    model: str | None = None

    @property
    def tenant(self) -> dict[str, Any]:
        """Return what a ready-file says of the demo's tenant."""
        return {
            "tenantId": self.tenant_id,
            "domain": self.domain,
            "apiKey": self.api_key,
            "model": self.model,
        }


def load_record(state: Path) -> DemoRecord:
    """Return what the installation remembers; nothing at its first start."""
    file = state / "demo.json"
    return DemoRecord(**json.loads(file.read_text("utf-8"))) if file.exists() else DemoRecord()


def save_record(state: Path, record: DemoRecord) -> None:
    """Remember."""
    write_private(state / "demo.json", asdict(record))


def write_private(file: Path, content: dict[str, Any]) -> None:
    """Write JSON that only its owner may read; a reader sees the old file or the new one."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as output:
        json.dump(content, output, indent=2, ensure_ascii=False)
        output.write("\n")
    new.replace(file)
