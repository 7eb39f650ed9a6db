"""Logs for machines: one JSON object a line on standard error, with level, time, event and what belongs to
it.

No line carries a secret, and none the text of a foreign exception that a client caused.
"""

import logging
import sys

import structlog


def configure_logs(level: str) -> None:
    """Set up logging for a node's process. Raises KeyError for a level that there is not."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
