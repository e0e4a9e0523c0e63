"""What user names are taken for the same name."""

import unicodedata

MAXIMUM_LENGTH = 100


def name_key(username: str) -> str:
    """Return the form in which *username* is unique: without case, width or composition."""
    plain = unicodedata.normalize("NFKC", username).casefold()
    return unicodedata.normalize("NFKC", plain)


def is_usable(username: str) -> bool:
    """Tell whether users can be named so: something to see, nothing invisible, no `:`."""
    if not username.isprintable() or any(each.isspace() or each == ":" for each in username):
        return False
    return 0 < len(username) <= MAXIMUM_LENGTH and len(name_key(username)) <= MAXIMUM_LENGTH
