"""What is used of Dagster beyond its public interface, as of DAGSTER_VERSION: look here first when Dagster changes.

The target of an asset check's evaluation ties what is judged after a run to the materialization that it judges; the
public `AssetCheckEvaluation` has a field for it, but no public type. The ticks of a cron string, backwards, are what
Dagster's own freshness checks count.
"""

from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._utils.schedules import reverse_cron_string_iterator

__all__ = ["DAGSTER_VERSION", "AssetCheckEvaluationTargetMaterializationData", "reverse_cron_string_iterator"]

DAGSTER_VERSION = "1.13.27"
