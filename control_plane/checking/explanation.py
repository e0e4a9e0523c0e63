"""What is told of a request: `docs/operators/check.md` lists the fields of its JSON."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self


@dataclasses.dataclass
class Step:
    """What one step of the way says: nothing more than what it found, or a refusal."""

    step: str
    """`host`, `tenant`, `route`, or the name of a policy."""
    found: dict[str, Any] = dataclasses.field(default_factory=dict)
    status: int | None = None
    code: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what `yumen check --json` prints of it."""
        return dataclasses.asdict(self)


@dataclasses.dataclass
class Explanation:
    """What would become of a request; a status and a code are those of the gateway's own answer."""

    allowed: bool
    answered_by: str
    """`upstream`, or `gateway` for a refusal and for what the gateway answers itself."""
    status: int | None = None
    code: str | None = None
    detail: str | None = None
    steps: list[Step] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    """What the explanation does not know, or somebody should know beside it."""

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """Return what a gateway tells."""
        return cls(
            allowed=told["allowed"],
            answered_by=told["answeredBy"],
            status=told.get("status"),
            code=told.get("code"),
            detail=told.get("detail"),
            steps=[Step(**step) for step in told["steps"]],
        )

    def refuse(self, step: Step, status: int, code: str, detail: str) -> None:
        """End the way at *step*, which refuses the request."""
        step.status, step.code = status, code
        del self.steps[self.steps.index(step) + 1 :]
        self.allowed, self.answered_by = False, "gateway"
        self.status, self.code, self.detail = status, code, detail

    def as_json(self) -> dict[str, Any]:
        """Return what `yumen check --json` prints."""
        return {
            "allowed": self.allowed,
            "answeredBy": self.answered_by,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "steps": [step.as_json() for step in self.steps],
            "notes": self.notes,
        }
