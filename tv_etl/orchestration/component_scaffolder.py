"""What `dg scaffold` writes for a component: a defs.yaml, or Python code."""

from typing import Any

from dagster.components import Scaffolder, ScaffoldRequest

_YAML = """\
type: {type_name}

attributes:
  lake: lake                                  # a directory in the project, or s3://bucket/prefix
  groups:
    - name: bars                              # the asset's name
      symbols: [NASDAQ:AAPL, BINANCE:BTCUSDT] # EXCHANGE:TICKER as TradingView writes it; or {{file: symbols.txt}}
      intervals: [1d, 1h]                     # 1m 5m 1h 4h 1d 1w 1mo ...

# Everything else has a default: see `dg list components`, or tv_etl's docs/dagster.md.
"""
_PYTHON = """\
import dagster as dg
from {module} import {name}


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> {name}:
    return {name}(
        lake="lake",  # a directory in the project, or s3://bucket/prefix
        groups=[{{"name": "bars", "symbols": ["NASDAQ:AAPL", "BINANCE:BTCUSDT"], "intervals": ["1d", "1h"]}}],
    )
"""


class TradingViewScaffolder(Scaffolder):
    """Writes a component that a beginner can edit."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        if request.scaffold_format == "python":
            module, _, name = request.type_name.rpartition(".")
            text = _PYTHON.format(module=module, name=name)
            (request.target_path / "component.py").write_text(text, encoding="utf-8")
            return
        text = _YAML.format(type_name=request.type_name)
        if request.append:
            with request.target_path.open("a", encoding="utf-8") as file:
                file.write(f"---\n{text}")
        else:
            (request.target_path / "defs.yaml").write_text(text, encoding="utf-8")
