"""What a run reports, with each check evaluation tied to the materialization that it judges."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

import dagster as dg

from tv_etl.orchestration.dagster_internals import AssetCheckEvaluationTargetMaterializationData

Report = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation

# Evaluations are gathered, so that one query finds what they judge.
_BATCH = 60


def attach_targets(
    context: dg.AssetExecutionContext, asset_key: dg.AssetKey, reports: Iterable[Report]
) -> Iterator[Report]:
    """The reports of a run, each evaluation of a selected check naming the materialization that it judges.

    Dagster shows an evaluation of a partition only if it names the partition's latest materialization.
    """
    selected = {key.name for key in context.selected_asset_check_keys}
    held: list[dg.AssetCheckEvaluation] = []
    try:
        for report in reports:
            if not isinstance(report, dg.AssetCheckEvaluation):
                yield report
            elif report.check_name in selected:
                held.append(report)
            if len(held) >= _BATCH:
                yield from _attach(context, asset_key, held)
                held.clear()
    except dg.Failure:
        yield from _attach(context, asset_key, held)
        raise
    yield from _attach(context, asset_key, held)


def check_outputs(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    """The outputs that Dagster expects of each selected check at the end of a run: else its log calls them missing."""
    for name, spec in context.assets_def.check_specs_by_output_name.items():
        if spec.key in context.selected_asset_check_keys:
            yield dg.Output(None, output_name=name)


def _attach(
    context: dg.AssetExecutionContext, asset_key: dg.AssetKey, held: list[dg.AssetCheckEvaluation]
) -> list[dg.AssetCheckEvaluation]:
    if not held:
        return []
    latest = context.instance.get_latest_storage_id_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, {each.partition for each in held if each.partition}
    )
    now = datetime.now(timezone.utc).timestamp()
    targets = {
        key: AssetCheckEvaluationTargetMaterializationData(storage_id=found, run_id=context.run.run_id, timestamp=now)
        for key, found in latest.items()
    }
    return [
        dg.AssetCheckEvaluation(
            asset_key=each.asset_key,
            check_name=each.check_name,
            passed=each.passed,
            metadata=each.metadata,
            target_materialization_data=targets.get(each.partition or ""),
            severity=each.severity,
            description=each.description,
            partition=each.partition,
        )
        for each in held
    ]
