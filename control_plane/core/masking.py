"""Masks contact data for those who may know that it is there, and not what it says (脱敏).

A schema marks such a field with `metadata={"mask": …}`, one of these functions.
"""

_STARS = "****"


def person(name: str) -> str:
    """Return the first character of a name: 张三 as 张*."""
    return f"{name[0]}*" if len(name) > 1 else "*"


def email(address: str) -> str:
    """Return an address without who it is at its host: zhang@example.com as z***@example.com."""
    local, _, host = address.rpartition("@")
    return f"{local[0] if len(local) > 1 else ''}***@{host}"


def phone(number: str) -> str:
    """Return a number without its middle: 13800131234 as 138****1234; less of a short one."""
    if len(number) >= 11:
        return number[:3] + _STARS + number[-4:]
    return _STARS + number[-2:] if len(number) >= 7 else _STARS
