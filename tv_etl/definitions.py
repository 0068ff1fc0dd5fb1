"""The code location: everything that Dagster sees, built from the watchlist.

TV_ETL_WATCHLIST names the watchlist file (watchlist.yaml), TV_ETL_LAKE the lake's directory or its address in an
object store (lake), TV_ETL_STATE the directory of the store of alerts (in the lake; of a lake in an object store
`tv_etl_state`). TV_ETL_WS_URL names another server than TradingView's, TV_ETL_SCANNER_URL another screener;
TV_ETL_PROXY is the proxy that both are asked through, and targets of alerts.
TV_ETL_AUTH_TOKEN is a token of an account, or TV_ETL_SESSION_ID and TV_ETL_SESSION_ID_SIGN the cookies of its session.
"""

import gc
import os
from collections.abc import Sequence

import dagster as dg

from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.loaded_watchlist import StandingMistake, load_for_process
from tv_etl.watchlist.model import Watchlist

# Dagster's modules stay for as long as the process. The collector need not look through them again and again, nor once
# more as the process ends, which takes a quarter of the CPU of a short run or tick.
gc.freeze()


@dg.definitions
def defs() -> dg.Definitions:
    path = os.environ.get("TV_ETL_WATCHLIST") or "watchlist.yaml"

    def build(watchlist: Watchlist, mistakes: Sequence[StandingMistake] = ()) -> dg.Definitions:
        return build_definitions(
            watchlist,
            os.environ.get("TV_ETL_LAKE") or "lake",
            state=os.environ.get("TV_ETL_STATE", ""),
            source=path,
            mistakes=mistakes,
        )

    return build(*load_for_process(path, lambda watchlist: dg.Definitions.validate_loadable(build(watchlist))))
