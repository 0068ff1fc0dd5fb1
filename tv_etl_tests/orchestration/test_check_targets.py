"""An evaluation names the materialization that it judges; what no check of the run holds back is reported at once."""

from collections.abc import Iterator

import dagster as dg
import pytest

from tv_etl.orchestration.check_targets import attach_targets
from tv_etl.orchestration.outputs import outputs

KEY = dg.AssetKey("fruit")
KINDS = ["apple", "pear"]


def build_fruit() -> dg.AssetsDefinition:
    @dg.asset(
        name="fruit",
        partitions_def=dg.StaticPartitionsDefinition(KINDS),
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("ripe", asset="fruit")],
        output_required=False,
    )
    def fruit(context: dg.AssetExecutionContext) -> Iterator[object]:
        def reports() -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
            for kind in context.partition_keys:
                yield dg.AssetMaterialization(KEY, partition=kind)
                for check in ("ripe", "unselected"):
                    yield dg.AssetCheckEvaluation(
                        asset_key=KEY, check_name=check, passed=kind == "pear", partition=kind
                    )

        yield from attach_targets(context, KEY, reports())
        yield from outputs(context)

    return fruit


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_each_evaluation_names_the_materialization_of_its_partition(instance: dg.DagsterInstance) -> None:
    tags = {"dagster/asset_partition_range_start": "apple", "dagster/asset_partition_range_end": "pear"}
    result = dg.materialize([build_fruit()], instance=instance, tags=tags)
    assert result.success
    evaluations = result.get_asset_check_evaluations()
    latest = instance.get_latest_storage_id_by_partition(KEY, dg.DagsterEventType.ASSET_MATERIALIZATION)
    named = {each.partition: each.target_materialization_data for each in evaluations}
    assert {kind: target and target.storage_id for kind, target in named.items()} == latest
    assert {target and target.run_id for target in named.values()} == {result.run_id}
    assert [(each.check_name, each.partition, each.passed) for each in evaluations] == [
        ("unselected", "apple", False),
        ("unselected", "pear", True),
        ("ripe", "apple", False),
        ("ripe", "pear", True),
    ]
