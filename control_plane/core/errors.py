"""Errors that reach the API's user, with a stable code; raised by services, shown by `core.api`."""

# ruff: noqa: N818 - they are answers, and read as such where they are raised

from collections.abc import Mapping, Sequence
from http import HTTPStatus

FieldErrors = Sequence[Mapping[str, str]]
"""What is wrong with single fields: `{"pointer": "#/name", "detail": "…"}` each."""


class ApiError(Exception):
    """An error with an HTTP status, a stable snake_case code and a sentence for the reader."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: FieldErrors = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = HTTPStatus(status)
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})


class Unauthorized(ApiError):
    """Who acts is not known."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(401, code, detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ApiError):
    """The actor may not do this."""

    def __init__(self, detail: str, code: str = "permission_denied") -> None:
        super().__init__(403, code, detail)


class NotFound(ApiError):
    """There is no such thing, or it is another tenant's: the answer is the same."""

    def __init__(self, thing: str) -> None:
        super().__init__(404, f"{thing}_not_found", f"There is no such {thing.replace('_', ' ')}.")


class Conflict(ApiError):
    """The state of things does not allow this."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(409, code, detail)


class Invalid(ApiError):
    """What was sent breaks a rule; each error points at a field."""

    def __init__(self, errors: FieldErrors, detail: str = "The request is not valid.") -> None:
        super().__init__(422, "validation_failed", detail, errors)

    @classmethod
    def field(cls, name: str, detail: str) -> "Invalid":
        """Return the error for one field of the body, named as on the wire."""
        return cls([{"pointer": f"#/{name}", "detail": detail}])

    def below(self, name: str) -> "Invalid":
        """Return the same errors for a body in which *name* holds what they are about."""
        errors = [
            {**each, "pointer": each["pointer"].replace("#/", f"#/{name}/", 1)}
            for each in self.errors
        ]
        return Invalid(errors, self.detail)
