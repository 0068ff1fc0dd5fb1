from tv_etl.lake.storage.files import data_directory, own_directory


def test_what_is_no_data_file_lies_outside_the_dataset() -> None:
    assert data_directory("1m", "NASDAQ%3AAAPL") == "ohlcv/interval=1m/symbol=NASDAQ%3AAAPL"
    assert own_directory("1m", "NASDAQ%3AAAPL") == ".tv_etl/1m/NASDAQ%3AAAPL"
