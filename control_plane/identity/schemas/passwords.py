"""Fields that hold passwords."""

from marshmallow import fields, validate

MINIMUM_LENGTH = 10
MAXIMUM_LENGTH = 200


def new_password(*, required: bool = False) -> fields.String:
    """Return a field for a password that is being chosen."""
    return fields.String(
        required=required,
        load_only=True,
        validate=validate.Length(MINIMUM_LENGTH, MAXIMUM_LENGTH),
    )


def existing_password() -> fields.String:
    """Return a field for a password that exists, which may be older than today's rules."""
    return fields.String(required=True, load_only=True, validate=validate.Length(1, 1000))
