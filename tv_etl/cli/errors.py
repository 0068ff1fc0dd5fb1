"""Errors as a command tells them."""


def shown(error: Exception) -> str:
    """The message of an error, as a terminal may have it."""
    return printable_lines(str(error))


def suggesting(error: Exception, ws_url: str | None = None, proxy: str | None = None) -> str:
    """The same, with what symbols that it tells as malformed may be meant to be."""
    from tv_etl.cli.suggestions import completed

    return printable_lines(completed(str(error), ws_url=ws_url, proxy=proxy))


def printable_lines(text: str) -> str:
    """The first fifty lines of a text, each cut where it gets long, as a terminal may have them."""
    from tv_etl.tradingview.printable import printable

    return "\n".join(printable(line, 2_000) for line in text.split("\n")[:50])
