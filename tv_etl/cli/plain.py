"""Text from files and servers, as a terminal may have it: nothing in it is a command or a style."""

import json
import re
from typing import Any

from tv_etl.tradingview.printable import is_printable


def json_text(content: Any, **options: Any) -> str:
    """JSON in which every character that does not show as itself is written as `\\uXXXX`: the same values."""
    text = json.dumps(content, ensure_ascii=False, **options)
    return re.sub(r"[^\x20-\x7e\n]", lambda found: found[0] if is_printable(found[0]) else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1]
