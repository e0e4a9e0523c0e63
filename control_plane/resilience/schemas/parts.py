"""What circuit breakers and degradation rules have in common on the wire."""

from marshmallow import fields, validate

MOST_SECONDS = 3600
ENDPOINT = validate.Regexp(
    r"/[!-~]{0,254}\Z", error="Must be a path such as /v1/embeddings, of visible ASCII characters."
)


def count(default: int | None, most: int, description: str, *, least: int = 1) -> fields.Integer:
    """Return a field of *least* to *most*; without a default it may be null, which is none."""
    return fields.Integer(
        load_default=default,
        allow_none=default is None,
        validate=validate.Range(least, most),
        metadata={"description": description},
    )


def service_field() -> fields.String:
    """Return the field that says whose calls it is about, by name."""
    return fields.String(
        required=True,
        validate=validate.Length(1, 200),
        metadata={
            "description": "The name of an AI model or an upstream, or its key "
            "(`model:<id>`, `upstream:<id>`) where a name is not enough."
        },
    )


def owner() -> fields.UUID:
    """Return the field that says which tenant's calls it is about."""
    return fields.UUID(
        allow_none=True,
        load_default=None,
        metadata={
            "description": "Whose calls it is about; null: the creator's own tenant's, or "
            "everybody's."
        },
    )
