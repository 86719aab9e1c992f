"""Every system check is explained at its anchor, and nothing else is."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
ROW = re.compile(r'^\| <a id="(hub[ew][0-9]{3})"></a>`(hub\.[EW][0-9]{3})` \|', re.MULTILINE)
CHECK_ID = re.compile(r"hub\.[EW][0-9]{3}")


def test_every_id_has_an_anchor_and_every_anchor_an_id() -> None:
    sources = [path.read_text() for path in CHECKOUT.glob("*/checks.py")]
    ids = {each for source in sources for each in CHECK_ID.findall(source)}
    page = (CHECKOUT / "docs" / "checks.md").read_text()
    rows = ROW.findall(page)
    assert [anchor for anchor, check in rows] == [
        check.lower().replace(".", "") for _anchor, check in rows
    ]
    assert [check for _anchor, check in rows] == sorted(ids, key=lambda each: each[-3:])
