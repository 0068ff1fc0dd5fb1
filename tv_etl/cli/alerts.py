"""`tv-etl alerts`: what alerts did, and what they would do, by hand."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from tv_etl.cli.errors import shown, suggesting
from tv_etl.cli.options import lake_option, parse_time
from tv_etl.lake.errors import BarStoreError
from tv_etl.tradingview.errors import MissingExtraError

_lake_option = lake_option("Directory of the lake that the alerts are beside, or its address in an object store.")


@click.group()
def alerts() -> None:
    """Try by hand what alerts do."""


@alerts.command("list")
@_lake_option
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="The newest so many.")
def list_alerts(lake: str, limit: int) -> None:
    """List the newest alerts, how many targets have each, and what is muted."""
    from rich.console import Console

    from tv_etl.alerts.database import StoreError
    from tv_etl.cli import alerts_by_hand as by_hand

    try:
        store = by_hand.open_store(lake, os.environ)
        events, muted = store.newest(limit), by_hand.mute_lines(store, time.time())
    except (StoreError, by_hand.AlertsError, ValueError) as error:
        raise click.ClickException(shown(error)) from None
    Console(highlight=False).print(by_hand.events_table(events))
    for line in muted:
        click.echo(line)


@alerts.command("dead")
@_lake_option
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="The newest so many.")
def dead_alerts(lake: str, limit: int) -> None:
    """List what was given up, to whom it was to go and why. The exit code is 1 if there is any."""
    from rich.console import Console

    from tv_etl.alerts.database import StoreError
    from tv_etl.cli import alerts_by_hand as by_hand

    try:
        letters = by_hand.open_store(lake, os.environ).dead_letters(limit)
    except (StoreError, by_hand.AlertsError, ValueError) as error:
        raise click.ClickException(shown(error)) from None
    if letters:
        Console(highlight=False).print(by_hand.letters_table(letters))
    click.echo(f"{len(letters):,} deliveries were given up", err=True)
    sys.exit(1 if letters else 0)


@alerts.command("resend")
@click.argument("events", metavar="[EVENT]...", nargs=-1)
@_lake_option
def resend_alerts(events: tuple[str, ...], lake: str) -> None:
    """Send again what was given up: all of it, or the events that are named. The next tick delivers it."""
    from tv_etl.alerts.database import StoreError
    from tv_etl.cli import alerts_by_hand as by_hand

    try:
        count = by_hand.open_store(lake, os.environ).resend(events or None)
    except (StoreError, by_hand.AlertsError, ValueError) as error:
        raise click.ClickException(shown(error)) from None
    if events and not count:
        raise click.ClickException(f"nothing of {', '.join(map(repr, events))} was given up")
    click.echo(f"{count:,} deliveries wait to be sent again")


@alerts.command("mute", no_args_is_help=True)
@click.argument("rule")
@click.option("--for", "duration", required=True, metavar="TIME", help="For how long: 30m, 2h, 3d; 0 ends a mute.")
@click.option("--symbol", default="", metavar="SYMBOL", help="Only this one of the rule's symbols.")
@_lake_option
def mute_rule(rule: str, duration: str, symbol: str, lake: str) -> None:
    """Mute RULE, from the next tick on: it is judged as ever, and what it finds is kept and told nobody.

    A mute that lasts is made longer, or shorter.
    """
    from tv_etl.cli import alerts_by_hand as by_hand

    _by_hand(lambda: by_hand.mute(lake, os.environ, rule, symbol, by_hand.seconds_of(duration)))


@alerts.command("unmute", no_args_is_help=True)
@click.argument("rule")
@click.option("--symbol", default="", metavar="SYMBOL", help="Only this one of the rule's symbols.")
@_lake_option
def unmute_rule(rule: str, symbol: str, lake: str) -> None:
    """End the mutes of RULE that were made by hand. Those of the cap end by themselves."""
    from tv_etl.cli import alerts_by_hand as by_hand

    _by_hand(lambda: by_hand.mute(lake, os.environ, rule, symbol, 0))


@alerts.command("ack", no_args_is_help=True)
@click.argument("event")
@_lake_option
def acknowledge(event: str, lake: str) -> None:
    """Acknowledge EVENT, an alert by its id or the first characters of it: no reminder of it comes any more.

    The next tick tells it to targets that have the notion, such as PagerDuty.
    """
    from tv_etl.cli import alerts_by_hand as by_hand

    _by_hand(lambda: by_hand.acknowledge(lake, os.environ, event))


def _by_hand(work: Callable[[], list[str]]) -> None:
    from tv_etl.alerts.by_hand import ByHandError
    from tv_etl.alerts.database import StoreError
    from tv_etl.cli.alerts_by_hand import AlertsError

    try:
        lines = work()
    except (StoreError, ByHandError, AlertsError, ValueError) as error:
        raise click.ClickException(shown(error)) from None
    for line in lines:
        click.echo(line)


@alerts.command("send-test", no_args_is_help=True)
@click.argument("target", required=False)
@click.option(
    "--watchlist", default=lambda: os.environ.get("TV_ETL_WATCHLIST") or "watchlist.yaml",
    show_default="$TV_ETL_WATCHLIST or watchlist.yaml", help="The watchlist file that has the target.",
)  # fmt: skip
@click.option(
    "--notify",
    is_flag=True,
    help="Send what is told when collecting fails, and when it works again: to TARGET, or to all that are told of it.",
)
def send_test(target: str | None, watchlist: str, notify: bool) -> None:
    """Send a test to TARGET, a target's name or else its variable, and show what was sent and answered.

    Its secrets are read from the environment and shown as ***. The exit code is 1 if it was not delivered.
    """
    from tv_etl.cli import alerts_by_hand as by_hand
    from tv_etl.tradingview.printable import printable
    from tv_etl.watchlist.model import WatchlistError, load_watchlist

    if target is None and not notify:
        raise click.UsageError("name a TARGET, or add --notify for all that are told when collecting fails")
    is_sent = True
    try:
        found = load_watchlist(watchlist)
        if notify:
            tries = by_hand.send_notices(found, target, os.environ)
        else:
            tries = iter([by_hand.send_test(by_hand.find_target(found.alerts.all_targets, target or ""), os.environ)])
        for tried in tries:
            for line in tried.sent.splitlines():
                click.echo(f"> {printable(line, 2_000)}")
            click.echo(f"< {tried.verdict.answer or tried.verdict.error}")
            outcome = "delivered to" if tried.verdict.is_sent else "not delivered to"
            click.echo(f"{outcome} {tried.label}")
            is_sent = is_sent and tried.verdict.is_sent
    except WatchlistError as error:
        raise click.ClickException(suggesting(error)) from None
    except by_hand.AlertsError as error:
        raise click.ClickException(shown(error)) from None
    sys.exit(0 if is_sent else 1)


@alerts.command("test", no_args_is_help=True)
@click.argument("watchlist", type=click.Path(path_type=Path))
@lake_option()
@click.option(
    "--from", "start", metavar="TIME", help="ISO 8601, UTC unless it says otherwise.  [default: 30 days before]"
)
@click.option("--to", "end", metavar="TIME", help="ISO 8601.  [default: now]")
@click.option("--rule", "names", multiple=True, metavar="NAME", help="Only this rule; may be given several times.")
@click.option(
    "--pictures", type=click.Path(path_type=Path), metavar="DIR",
    help="Write a picture of the price for each rule and symbol, with its alerts on it.",
)  # fmt: skip
def test_rules(
    watchlist: Path, lake: str, start: str | None, end: str | None, names: tuple[str, ...], pictures: Path | None
) -> None:
    """Replay stored bars through the rules of a watchlist: what would have been told, and when.

    Nothing is sent, and nothing remembered: the rules begin at --from. Touches are looked for in the finest bars that
    are stored. What cannot be judged is named on stderr.
    """
    from rich.console import Console

    from tv_etl.alerts.stored_history import StoredHistory
    from tv_etl.cli.plain import json_text
    from tv_etl.cli.rehearsal import (
        RehearsalError,
        alerts_table,
        chosen_rules,
        now_utc,
        rehearse,
        span_of,
        write_pictures,
    )
    from tv_etl.lake.store import BarStore
    from tv_etl.watchlist.model import WatchlistError, load_watchlist

    try:
        listed = load_watchlist(watchlist)
        rules = chosen_rules(listed, names)
        since, until = span_of(parse_time("--from", start), parse_time("--to", end), now_utc())
        history = StoredHistory(BarStore.existing(lake), since, until)
        replayed = rehearse(listed, rules, history, since, until)
        Console(highlight=False).print(alerts_table(replayed.alerts, since, until))
        for note in replayed.notes:
            click.echo(json_text(note)[1:-1], err=True)
        click.echo(f"{len(replayed.alerts):,} alerts of {len(rules):,} rules")
        for path in write_pictures(pictures, rules, replayed.alerts, history) if pictures is not None else ():
            click.echo(str(path))
    except WatchlistError as error:
        raise click.ClickException(suggesting(error)) from None
    except (BarStoreError, MissingExtraError, OSError, RehearsalError, ValueError) as error:
        raise click.ClickException(shown(error)) from None
