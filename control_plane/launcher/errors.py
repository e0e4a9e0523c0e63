"""What stops a start."""


class LaunchError(Exception):
    """Yumen cannot start or go on; the message is one sentence that says what to do."""
