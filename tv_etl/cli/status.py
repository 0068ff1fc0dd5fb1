"""`tv-etl status`: what a lake holds, lacks and is about to lose."""

from datetime import datetime, timezone

import click

from tv_etl.cli.errors import shown
from tv_etl.cli.options import lake_option
from tv_etl.lake.errors import BarStoreError
from tv_etl.tradingview.errors import MissingExtraError


@click.command()
@click.argument("symbol", required=False)
@click.argument("interval", required=False)
@lake_option("Directory of the lake, or its address in an object store: s3://bucket/prefix, gs:// or az://.")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects instead of a table.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True,
    help="With a SYMBOL: show so many entries of each series, the newest; 0 for all. JSON has all.",
)  # fmt: skip
def status(symbol: str | None, interval: str | None, lake: str, as_json: bool, limit: int) -> None:
    """Show what the lake holds, lacks and is about to lose, the most urgent series first.

    Then the same counted by interval, where overdue is what nobody has asked for since a bar closed over an hour ago;
    which symbols were renamed, and what the server refuses.

    With a SYMBOL, all that is known of it by time, at one INTERVAL or each: spans asked for, gaps, revisions,
    re-adjustments, bars in quarantine.
    """
    from rich.console import Console

    from tv_etl.cli.plain import json_text
    from tv_etl.cli.status_table import chronicle_table, glance_table, refusal_lines, rename_lines, status_table
    from tv_etl.lake.chronicle import chronicle
    from tv_etl.lake.status import lake_status
    from tv_etl.lake.store import BarStore
    from tv_etl.tradingview.intervals import Interval

    now = datetime.now(timezone.utc)
    try:
        store = BarStore.existing(lake)
        statuses = lake_status(store, now, symbol, None if interval is None else Interval.parse(interval))
    except (BarStoreError, MissingExtraError, ValueError) as error:
        raise click.ClickException(shown(error)) from None
    known = [] if symbol is None else [chronicle(store, each.series, now) for each in statuses]
    if as_json:
        entries = {each.series: [entry.to_dict() for entry in each.entries] for each in known}
        details = [{} if symbol is None else {"entries": entries[each.series]} for each in statuses]
        content = [{**each.to_dict(), **detail} for each, detail in zip(statuses, details, strict=True)]
        click.echo(json_text(content, indent=1))
        return
    console = Console()
    console.print(status_table(statuses, now, console.width))
    if len(statuses) > 1 and symbol is None:
        console.print()
        console.print(glance_table(statuses, now, console.width))
    for line in refusal_lines(statuses):
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    for line in rename_lines(statuses):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    for each in sorted(known, key=lambda each: each.series.order):
        console.print()
        console.print(chronicle_table(each, limit))
