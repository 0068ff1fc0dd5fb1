"""What a step yields at its end, when all of its partitions are made: without it Dagster skips what is downstream.

Dagster would add a materialization to the output of an asset: another one of each partition, hiding the verdicts on the
first, or one without a partition in a run that is launched for none. Each partition has been reported by then.
"""

from collections.abc import Iterator

import dagster as dg

from tv_etl.orchestration.check_targets import Report
from tv_etl.orchestration.dagster_internals import ALREADY_REPORTED

# What the steps of tv_etl's assets yield.
StepEvent = Report | dg.Output[None] | dg.MaterializeResult[None]


def outputs(context: dg.AssetExecutionContext) -> Iterator[StepEvent]:
    """The output of each selected asset, and of each selected check: else the log calls the latter missing."""
    # Without a value, so that no IO manager is asked to store one.
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key, metadata=ALREADY_REPORTED)
    for name, spec in context.assets_def.check_specs_by_output_name.items():
        if spec.key in context.selected_asset_check_keys:
            yield dg.Output(None, output_name=name)
