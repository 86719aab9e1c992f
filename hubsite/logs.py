"""One log record, one line: control characters escaped, secrets in URLs masked."""

import logging
import re

__all__ = ["LineFormatter"]

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
SECRET_PARAMETER = re.compile(
    r"(?i)\b([a-z_]*(?:sid|token|access|refresh|auth|jwt|secret|sig|password))=[^&\s\"']+"
)
TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?")  # under any name


def escape_control(text: str) -> str:
    """Text with every control or direction-changing character written as its escape."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def safe(line: str) -> str:
    """A line without control characters, and without secrets in URLs."""
    return TOKEN.sub("***", SECRET_PARAMETER.sub(r"\1=***", escape_control(line)))


class LineFormatter(logging.Formatter):
    """``time level logger message``; a traceback follows, indented, with the same escaping."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = super().format(record).split("\n")
        if not record.exc_info:
            first, rest = "\n".join([first, *rest]), []
        return "\n    ".join(map(safe, [first, *rest]))
