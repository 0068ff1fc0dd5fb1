"""What is used of Dagster and is not its public interface, as read in READ_IN: look here first when Dagster changes.

The target of an asset check's evaluation ties what is judged after a run to the materialization that it judges; the
public `AssetCheckEvaluation` has a field for it, and no public type. The ticks of a cron string, backwards, are what
Dagster's own freshness checks count.
"""

from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._utils.schedules import reverse_cron_string_iterator

__all__ = ["READ_IN", "AssetCheckEvaluationTargetMaterializationData", "reverse_cron_string_iterator"]

READ_IN = "1.13.27"
