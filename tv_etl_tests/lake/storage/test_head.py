"""The head of a series: what one commit says is what the next one reads, and nothing else is believed."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.lake.errors import DamagedFileError, NewerFormatError
from tv_etl.lake.storage.bucket import Object, Version
from tv_etl.lake.storage.head import Head, Move

DATA, OWN = "ohlcv/interval=1m/symbol=X", ".tv_etl/1m/X"
STAGED, MONTH = f"{OWN}/{'0' * 32}.parquet", f"{DATA}/2026-11.parquet"
VERSION = Version("e", None)

texts = st.text(max_size=5)
versions = st.none() | st.builds(Version, st.none() | texts, st.none() | texts)
moves = st.builds(Move, texts, texts, versions)
records = st.none() | st.dictionaries(texts.filter(lambda key: key != "commit"), texts, min_size=1)


def read(content: object) -> Head:
    head = Head.decode(Object(json.dumps(content).encode(), VERSION), "s3://lake/series.json")
    head.require_inside(DATA, OWN, "s3://lake/series.json")
    return head


@given(
    commit=st.binary(min_size=16, max_size=16),
    moves=st.lists(moves, max_size=3).map(tuple),
    record=records,
    moved_by=texts,
    files=st.none() | st.lists(texts, max_size=3).map(tuple),
)
def test_what_is_encoded_is_what_is_decoded(
    commit: bytes,
    moves: tuple[Move, ...],
    record: dict[str, str] | None,
    moved_by: str,
    files: tuple[str, ...] | None,
) -> None:
    content = None if record is None else msgspec.json.encode(record, order="sorted")
    head = Head(VERSION, commit.hex(), moves, content, moved_by if moves else "", files)
    assert Head.decode(Object(head.encode(), VERSION), "") == head


def test_a_record_that_was_copied_from_a_directory_is_a_head_without_a_commit() -> None:
    head = read({"facts": {}})
    assert (head.record, head.moves, head.files, head.stamp) == (b'{"facts": {}}', (), None, b"")


def test_the_contents_of_its_moves_carry_the_stamp_of_the_commit_that_made_them() -> None:
    assert Head(commit="aa").stamp == b"\xaa"
    assert Head(commit="aa", moved_by="bb").stamp == b"\xbb"
    assert Head(commit="of somebody else").stamp == b""


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (Head(VERSION, "aa"), Head(None, "aa", (Move(STAGED, MONTH, None),)), True),
        (Head(VERSION, "aa"), Head(VERSION, "bb"), False),
        (Head(VERSION), Head(VERSION), True),
        (Head(VERSION), Head(), False),
    ],
)
def test_two_heads_are_of_one_state_by_their_commit_or_without_one_by_their_version(
    one: Head, other: Head, is_same: bool
) -> None:
    assert one.is_same_state(other) is other.is_same_state(one) is is_same


def test_what_lies_in_the_directories_of_the_series_is_believed() -> None:
    move = {"staged": STAGED, "target": MONTH, "over": {"e_tag": "e", "version": None}}
    found = read({"commit": {"version": 1, "id": "aa", "moves": [move], "files": ["2026-11.parquet"]}})
    assert found == Head(VERSION, "aa", (Move(STAGED, MONTH, VERSION),), None, "", ("2026-11.parquet",))


@pytest.mark.parametrize(
    "commit",
    [
        "a commit",
        {"version": 1, "id": ""},
        {"version": 1, "id": "", "moves": [{"staged": STAGED}]},
        {"version": 1, "id": "", "moves": [], "files": ["../a"]},
        {"version": 1, "id": "", "moves": [{"staged": "a", "target": MONTH, "over": None}]},
        {"version": 1, "id": "", "moves": [{"staged": f"{OWN}/log.parquet", "target": MONTH, "over": None}]},
        {"version": 1, "id": "", "moves": [{"staged": STAGED, "target": "ohlcv/x", "over": None}]},
    ],
)
def test_a_head_that_cannot_be_understood_is_damaged(commit: object) -> None:
    with pytest.raises(DamagedFileError, match=r"series\.json"):
        read({"commit": commit})


def test_a_head_of_a_later_version_says_so() -> None:
    with pytest.raises(NewerFormatError, match="commit version 2, known is 1"):
        read({"commit": {"version": 2, "id": "", "moves": []}})
