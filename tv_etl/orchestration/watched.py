"""What of a code location was defined from a watchlist: what notifications are about, and what may be pruned."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from tv_etl.watchlist.model import Group

# The tag of the runs that alerts start, whatever job they are of.
_OF_ALERT = "tv_etl/event_id"


@dataclass(frozen=True)
class Watched:
    """The names of all that was defined; `repository` and `location` are empty where they are not known."""

    groups: Sequence[Group]
    jobs: frozenset[str] = frozenset()
    assets: frozenset[dg.AssetKey] = frozenset()
    checks: frozenset[dg.AssetCheckKey] = frozenset()
    sensors: frozenset[str] = frozenset()
    schedules: frozenset[str] = frozenset()
    steps: Mapping[str, dg.AssetKey] = field(default_factory=dict)  # which asset a step makes
    repository: str = ""
    location: str = ""

    @classmethod
    def of(
        cls,
        groups: Sequence[Group],
        assets: Iterable[dg.AssetsDefinition | dg.AssetSpec],
        jobs: Iterable[Any],
        schedules: Iterable[dg.ScheduleDefinition],
        sensors: Iterable[dg.SensorDefinition],
    ) -> "Watched":
        """All of what was defined."""
        keys: set[dg.AssetKey] = set()
        checks: set[dg.AssetCheckKey] = set()
        steps: dict[str, dg.AssetKey] = {}
        for each in assets:
            if isinstance(each, dg.AssetsDefinition) and len(list(each.keys)) == 1:
                steps[each.op.name] = each.key
            keys |= {each.key} if isinstance(each, dg.AssetSpec) else set(each.keys)
            checks |= set() if isinstance(each, dg.AssetSpec) else set(each.check_keys)
        return cls(
            groups,
            frozenset(each.name for each in jobs),
            frozenset(keys),
            frozenset(checks),
            frozenset(each.name for each in sensors),
            frozenset(each.name for each in schedules),
            steps,
        )

    def has_run(self, run: dg.DagsterRun) -> bool:
        """True for a run of a job or an asset that was defined, or one that an alert has started."""
        if not self._is_here(run.remote_job_origin.repository_origin if run.remote_job_origin else None):
            return False
        checked = {key.asset_key for key in run.asset_check_selection or ()}
        is_of_assets = bool(self.assets & (set(run.asset_selection or ()) | checked))
        return is_of_assets or run.job_name in self.jobs or _OF_ALERT in run.tags

    def is_only(self, run: dg.DagsterRun) -> bool:
        """True for a run of a job that was defined, or of assets and checks all of which were."""
        if not self._is_here(run.remote_job_origin.repository_origin if run.remote_job_origin else None):
            return False
        named = {*(run.asset_selection or ()), *(key.asset_key for key in run.asset_check_selection or ())}
        return named <= self.assets and (bool(named) or run.job_name in self.jobs)

    def has_instigator(self, state: Any) -> bool:
        """True for the state of a sensor or schedule that was defined."""
        names = self.schedules if state.instigator_type.value == "SCHEDULE" else self.sensors
        return state.instigator_name in names and self._is_here(state.origin.repository_origin)

    def _is_here(self, origin: Any) -> bool:
        """False for what is known to be of another code location, which may have the same names."""
        if origin is None or not self.location:
            return True
        named = (origin.repository_name, origin.code_location_origin.location_name)
        return named == (self.repository, self.location)
