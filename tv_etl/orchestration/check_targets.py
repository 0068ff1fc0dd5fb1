"""What a run reports, with each check evaluation tied to the materialization that it judges."""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from tv_etl.orchestration.dagster_internals import AssetCheckEvaluationTargetMaterializationData

Report = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation

# Evaluations are gathered, so that one query finds what they judge.
_BATCH = 60


def attach_targets(
    context: dg.AssetExecutionContext, asset_key: dg.AssetKey, reports: Iterable[Report]
) -> Iterator[Report]:
    """The reports of a run, each check evaluation naming the materialization that it judges.

    Dagster shows an evaluation of a partition only if it names the partition's latest materialization. Those of checks
    that the run has not selected are few, and reported at once: a run that is killed must not hide a bad verdict.
    """
    selected = {key.name for key in context.selected_asset_check_keys}
    held: list[dg.AssetCheckEvaluation] = []
    try:
        for report in reports:
            if not isinstance(report, dg.AssetCheckEvaluation):
                yield report
            elif report.check_name in selected:
                held.append(report)
            else:
                yield from _attach(context, asset_key, [report])
            if len(held) >= _BATCH:
                yield from _attach(context, asset_key, held)
                held.clear()
    except dg.Failure:
        yield from _attach(context, asset_key, held)
        raise
    yield from _attach(context, asset_key, held)


def _attach(
    context: dg.AssetExecutionContext, asset_key: dg.AssetKey, held: list[dg.AssetCheckEvaluation]
) -> list[dg.AssetCheckEvaluation]:
    if not held:
        return []
    partitions = {each.partition for each in held if each.partition}
    latest = context.instance.get_latest_storage_id_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, partitions
    )
    targets = {
        str(each.partition_key): AssetCheckEvaluationTargetMaterializationData(
            storage_id=each.storage_id, run_id=each.run_id, timestamp=each.timestamp
        )
        for each in materializations(context.instance, asset_key, list(latest.values()))
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


def materializations(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, storage_ids: list[int]
) -> Sequence[dg.EventLogRecord]:
    """The events of an asset that have these ids."""
    if not storage_ids:
        return []
    wanted = dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=storage_ids)
    return instance.fetch_materializations(wanted, limit=len(storage_ids)).records
