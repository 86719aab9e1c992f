"""One log record, one line: control characters escaped, secrets in URLs masked."""

import logging
import re

__all__ = ["LineFormatter"]

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
SECRET_PARAMETER = re.compile(r"(?i)\b(sid|token|access|refresh|secret|sig|password)=[^&\s\"']+")


def escape_control(text: str) -> str:
    """Text with every control or direction-changing character written as its escape."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class LineFormatter(logging.Formatter):
    """``time level logger message``; a traceback follows, indented, with the same escaping."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = super().format(record).split("\n")
        if not record.exc_info:
            first, rest = "\n".join([first, *rest]), []
        masked = SECRET_PARAMETER.sub(r"\1=***", escape_control(first))
        return "\n    ".join([masked, *(escape_control(line) for line in rest)])
