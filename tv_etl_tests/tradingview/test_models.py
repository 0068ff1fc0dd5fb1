"""Requests are checked before anything is sent; the models read the wire's values."""

import copy
import json
import pickle
from datetime import date, datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tv_etl.tradingview.errors import IntervalError, SymbolError
from tv_etl.tradingview.frames import PacketDecoder
from tv_etl.tradingview.models import (
    NO_VALUE,
    HistoryRequest,
    OHLCVBar,
    QuoteSymbolData,
    SymbolInfo,
    bars_of,
    convert_timestamp_to_iso,
    feed_delay_s,
    row_volume,
)
from tv_etl_tests.recordings import exact_recordings

pytestmark = pytest.mark.pure

NOON = datetime(2026, 11, 18, 12, tzinfo=timezone.utc)


def test_a_bar_without_volume_has_none() -> None:
    assert OHLCVBar.from_row([60.0, 1.0, 2.0, 0.5, 1.5]).volume is None
    assert OHLCVBar.from_row([60.0, 1.0, 2.0, 0.5, 1.5, 1e100]).volume is None
    assert OHLCVBar.from_row([60.0, 1.0, 2.0, 0.5, 1.5, 0.25]).volume == 0.25


@pytest.mark.parametrize(
    ("request_fields", "error", "words"),
    [
        ({"symbol": "AAPL"}, SymbolError, "'AAPL'"),
        ({"interval": "xx"}, IntervalError, "'xx'"),
        ({"start": datetime(2026, 1, 1)}, ValueError, "time zone"),
        ({"start": "2026-11-02"}, ValueError, "start '2026-11-02' is no datetime"),
        ({"end": date(2026, 11, 2)}, ValueError, "end datetime.date"),
        ({"start": NOON, "end": NOON}, ValueError, "not before"),
        ({"bars_count": 0}, ValueError, "less than 1"),
        ({"bars_count": 5, "start": NOON}, ValueError, "not both"),
    ],
)
def test_a_bad_request_is_refused_by_name(request_fields: dict[str, Any], error: type[ValueError], words: str) -> None:
    with pytest.raises(error, match=words):
        HistoryRequest(**{"symbol": "NASDAQ:AAPL", "interval": "1m", **request_fields})


def test_a_quote_field_never_seen_is_none() -> None:
    quote = QuoteSymbolData.from_fields("SP:SPX", {"lp": 5000, "volume": 1e100, "ch": None})
    assert (quote.current_price, quote.volume, quote.change, quote.change_percent) == (5000.0, None, None, None)


def test_a_symbol_info_stands_without_any_key() -> None:
    info = SymbolInfo({})
    assert (info.session, info.time_zone, info.has_volume, info.tick) == ("24x7", "Etc/UTC", True, None)


META = {"pro_name": "NASDAQ:META", "full_name": "BATS:META", "name": "META", "listed_exchange": "NASDAQ"}


@pytest.mark.parametrize(
    ("asked", "info", "name"),
    [
        ("NASDAQ:FB", META, "NASDAQ:META"),
        ("NYSE:META", META, "NASDAQ:META"),
        ("NASDAQ:FB", META | {"pro_name": "", "full_name": "BATS:META"}, "NASDAQ:META"),
        ("NASDAQ:FB", META | {"aliases": ["NASDAQ:FB"]}, "NASDAQ:META"),
        ("NASDAQ:FB", {"full_name": "BATS:META"}, "NASDAQ:FB"),
        ("NASDAQ:FB", META | {"pro_name": "no symbol"}, "NASDAQ:FB"),
        ("NASDAQ:FB", {}, "NASDAQ:FB"),
        ("NASDAQ:META", META, "NASDAQ:META"),
        ("NASDAQ:meta", META, "NASDAQ:meta"),
        ("BATS:META", META, "BATS:META"),
        ("SPCFD:SPX", {"pro_name": "SP:SPX", "aliases": ["SPCFD:SPX", "SP_DLY:SPX"]}, "SPCFD:SPX"),
        ("NSE_DLY:JUNIPER", {"pro_name": "NSE:JUNIPER", "alternatives": ["NSE_DLY:JUNIPER", 7]}, "NSE_DLY:JUNIPER"),
        ("COMEX:GC1!", {"pro_name": "COMEX_DL:GC1!", "full_name": "COMEX_DL:GC1!"}, "COMEX:GC1!"),
        ("A:B/C:D", {"pro_name": "X:B/X:D", "type": "expression"}, "A:B/C:D"),
    ],
)
def test_an_instrument_has_the_name_that_was_asked_for_or_a_new_one(
    asked: str, info: dict[str, Any], name: str
) -> None:
    assert SymbolInfo(info).name_of(asked) == name


def test_the_names_in_the_recordings_are_no_former_ones() -> None:
    payloads = [each for texts in exact_recordings().values() for text in texts for each in PacketDecoder().feed(text)]
    infos = [SymbolInfo(json.loads(each)["p"][2]) for each in payloads if each.startswith('{"m":"symbol_resolved"')]
    assert len(infos) >= 4
    for info in infos:
        names = [info.raw["pro_name"], info.raw["full_name"], *info.raw["aliases"], *info.raw["alternatives"]]
        assert [info.name_of(name) for name in names] == names


@pytest.mark.parametrize(
    ("update_mode", "delay_s"),
    [
        ("streaming", 0.0),
        ("delayed_streaming_900", 900.0),
        ("delayed_1200", 1_200.0),
        ("endofday", None),
        ("delayed_streaming", None),
        ("", None),
    ],
)
def test_a_feed_says_how_late_it_is_or_nothing(update_mode: str, delay_s: float | None) -> None:
    assert feed_delay_s(update_mode) == delay_s


def test_timestamps_read_as_iso() -> None:
    assert convert_timestamp_to_iso(1_787_232_600) == "2026-08-20T13:30:00+00:00"


@given(
    st.lists(
        st.tuples(
            st.integers(-62_135_596_800, 7_258_118_400).map(float),
            *[st.floats(-1e12, 1e12)] * 4,
            st.none() | st.just(NO_VALUE) | st.floats(0, 1e15),
        ),
        max_size=12,
    )
)
def test_bars_built_in_bulk_are_what_validation_makes_of_each(rows: list[Any]) -> None:
    bars = bars_of([row if row[5] is not None else row[:5] for row in rows])
    plain = [dict(zip(OHLCVBar.model_fields, (int(row[0]), *row[1:]), strict=True)) for row in rows]
    validated = [OHLCVBar(**fields | {"volume": row_volume(row)}) for fields, row in zip(plain, rows, strict=True)]
    assert bars == validated
    assert [hash(bar) for bar in bars] == [hash(bar) for bar in validated]
    for bar, other in zip(bars, validated, strict=True):
        assert (repr(bar), str(bar), bar.model_dump()) == (repr(other), str(other), other.model_dump())
        assert bar.model_dump_json(exclude_unset=True) == other.model_dump_json(exclude_unset=True)
        assert [type(value) for value in bar.model_dump().values()] == [
            type(value) for value in other.model_dump().values()
        ]
        assert (bar.__getstate__(), bar.model_fields_set) == (other.__getstate__(), other.model_fields_set)
        for copied in (pickle.loads(pickle.dumps(bar)), copy.copy(bar), copy.deepcopy(bar), bar.model_copy()):
            assert (copied, type(copied), copied.model_fields_set) == (other, OHLCVBar, other.model_fields_set)
        assert OHLCVBar.model_validate(bar) == other


def test_a_bar_built_in_bulk_is_frozen_and_its_changed_copy_changes_no_other() -> None:
    first, second = bars_of([[60.0, 1.0, 2.0, 0.5, 1.5, 7.0], [120.0, 1.0, 2.0, 0.5, 1.5]])
    with pytest.raises(ValidationError, match="frozen"):
        first.close = 9.0
    changed = first.model_copy(update={"close": 9.0})
    assert (first.close, changed.close, second.close) == (1.5, 9.0, 1.5)
    changed.model_fields_set.clear()
    assert first.model_fields_set == second.model_fields_set == set(OHLCVBar.model_fields)
    assert bars_of([]) == []
