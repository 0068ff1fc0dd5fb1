"""The config of a run is a launchpad that explains itself."""

from dataclasses import fields

from tv_etl.orchestration.bars_config import CONFIG_SCHEMA, BarsConfig


def test_the_launchpad_explains_every_field() -> None:
    assert set(CONFIG_SCHEMA) == {each.name for each in fields(BarsConfig)}
    assert all(field.description for field in CONFIG_SCHEMA.values())
    assert not any(field.is_required for field in CONFIG_SCHEMA.values())
