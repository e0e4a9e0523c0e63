"""Logs as one JSON object a line on standard error, without keys in them."""

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

from control_plane.core.settings import Settings

_KEY = re.compile(r"ym_live_[0-9A-Za-z_]+|(?<=Bearer )[^\s\"']+")


def configure(settings: Settings) -> None:
    """Send structlog's and the standard library's records to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_keys,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.logging.level.upper())


def mask_keys(_logger: WrappedLogger, _method: str, record: EventDict) -> EventDict:
    """Replace API keys and tokens in every text of *record*."""
    return {
        name: _KEY.sub("***", value) if isinstance(value, str) else value
        for name, value in record.items()
    }
