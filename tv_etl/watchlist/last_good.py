"""The last content without a mistake that a watchlist had, kept beside what else a server remembers.

It holds everything that the definitions are built from: also the symbols that were in files of their own.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tv_etl.watchlist.model import Group

_FOLDER = "tv_etl_watchlists"


class LastGood:
    """What a watchlist held when it was last read without a mistake; `place` tells it from others."""

    def __init__(self, directory: Path, place: str) -> None:
        digest = hashlib.sha256(place.encode()).hexdigest()[:16]
        self.path = directory / _FOLDER / f"{digest}.yaml"

    def load(self) -> Mapping[str, Any] | None:
        """None if nothing is kept, or nothing that can be read."""
        try:
            content = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return None
        return content if isinstance(content, dict) else None

    def keep(self, content: Mapping[str, Any]) -> None:
        """Keep the content. Raises OSError; then nothing older is kept either."""
        text = yaml.safe_dump(dict(content), allow_unicode=True)
        with suppress(OSError, UnicodeDecodeError):
            if self.path.read_text(encoding="utf-8") == text:
                return
        written = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(text, encoding="utf-8")
            written.replace(self.path)
        except OSError:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            raise


def with_symbols(content: Mapping[str, Any], groups: Sequence[Group]) -> dict[str, Any]:
    """The content with the symbols of each group in place of the file that it names; a template stays one."""
    written = content.get("groups")
    if not isinstance(written, list):
        return dict(content)
    return {**content, "groups": [_listed(each, group) for each, group in zip(written, groups, strict=True)]}


def _listed(written: Any, group: Group) -> Any:
    names_file = isinstance(written, dict) and isinstance(written.get("symbols"), dict) and group.scanner is None
    return {**written, "symbols": group.symbols} if names_file else written
