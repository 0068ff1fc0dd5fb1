"""The asset checks of the `bars` assets, as Dagster defines and describes them; `checks` judges by them."""

import warnings

import dagster as dg

from tv_etl.orchestration.partitions import series_partitions
from tv_etl.watchlist.model import Group

# Holes that the server confirmed pass up to this share of the expected bars: a thinly traded symbol has minutes
# without a trade.
SMALL_SHARE = 0.02

_DESCRIPTIONS = {
    "ordered_and_unique": (
        "The bars of every file ascend in time without duplicates, each in the file of its period. Fails if something "
        "else wrote or damaged a file: a run with `refetch` sets it aside and fetches its span again."
    ),
    "ohlc_consistent": (
        "The low and high of every bar enclose its open and close. A bar that fails is kept in quarantine, outside "
        "the dataset: fetch its time again in a run with `refetch`, `start` and `end`; a sound version replaces it."
    ),
    "gap_free": (
        "Every bar that the trading hours promise is stored, or the server was asked and had none. ERROR: a whole "
        "trading day is missing, or a span was never asked for; run the backfill shown. WARN: the server has nothing "
        f"for more than {SMALL_SHARE:.0%} of the bars, or its trading hours cannot be read. A few missing minutes of a "
        "thinly traded symbol pass, and so does a series without a cadence, such as economic data: nobody says which "
        "points there must be."
    ),
    "fresh": (
        "The newest bar that has closed, by the trading hours and the feed's delay, is stored, give or take one "
        "interval of the schedule. WARN: check that the schedule is on and its runs succeed, then run an increment. Or "
        "the server refuses the series, such as a delisted symbol. Or the instrument has another name now, under which "
        "alone the server may go on: `tv-etl rename OLD NEW`. A series without a cadence, such as economic data, is "
        "judged by how far apart its own points are."
    ),
    "loss_deadline": (
        "No bar slides out of the server's window within a day. WARN: less than a day is left; run an increment now. "
        "ERROR: bars are being lost, or are lost already and can only come from another source."
    ),
    "seamless": (
        "Every answer joined the stored bars by proof: a bar that both have, on one scale or on two of a known ratio. "
        "ERROR: at the time shown nothing proves that what is older is of the same scale or the same instrument: after "
        "a pause longer than the server's window, or for a ticker that was used again. What is newer is collected on; "
        "look at both sides and choose: scale the older bars, cut them off, or accept them. WARN, where every bar is "
        "read: prices step by nearly a split's ratio, and nothing that the market did explains it."
    ),
    "revisions": (
        "The last commit changed no stored bar. WARN: it did, or it re-adjusted the history for a split or a "
        "dividend; the rows are shown. The lake needs nothing, but results computed from the old values are out of "
        "date."
    ),
}
CHECKS = tuple(_DESCRIPTIONS)
# How to read a page: see `verdicts`.
_SILENCE = "A partition without a verdict passed when its newest bars were stored."


def check_specs(group: Group) -> list[dg.AssetCheckSpec]:
    """The checks on every partition of a group's asset."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Specifying a partitions_def on an AssetCheckSpec", dg.PreviewWarning)
        key, partitions = dg.AssetKey(group.asset_path), series_partitions(group)
        return [
            dg.AssetCheckSpec(name, asset=key, partitions_def=partitions, description=f"{description} {_SILENCE}")
            for name, description in _DESCRIPTIONS.items()
        ]
