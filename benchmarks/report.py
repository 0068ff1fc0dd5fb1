"""What was measured as Markdown, and as pictures beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.growth import Growth
from benchmarks.runs import LATENCIES_MS, Runs, Taken

CLIENTS_PICTURE, GROWTH_PICTURE = "performance_clients.svg", "performance_growth.svg"
_OURS, _OTHERS, _FLOOR = "#2563eb", "#b0b7c3", "#16a34a"

_PAGE = """# Performance

What the same bars cost different clients: {series} series of {bars:,} minutes each, from the market server over
loopback. `make bench` measures it anew and writes this page; only ratios mean anything on another machine.

Every client is a program of its own on one core, the server has another. All take turns, {rounds} rounds behind each
latency after one that warms the market up: medians, with the least and the greatest. CPU and memory are those of the
client alone, imports not counted in the CPU. The *floor* is the least that Python can do: websockets, a typed decode,
`np.fromiter`, for files a plain `write_table`; it checks nothing, forgives nothing and survives no power cut. tvkit
runs its batch download without its HTTP check of every symbol.

{table}

![CPU, time and memory of each client]({clients_picture})

## How it grows

{growths}

![Cost of a piece of work by size]({growth_picture})
"""


def table(runs: Runs, floors: Mapping[str, str], *, bars: int) -> str:
    """A row for each client; `bars` are those of a whole run, `floors` name what each is compared with."""
    heads = ["", "CPU µs per bar", "× floor", *(f"seconds at {latency} ms" for latency in LATENCIES_MS), "peak MB"]
    rows = [heads, ["---", *["--:"] * (len(heads) - 1)]]
    for name, by_latency in runs.items():
        floor = floors[name]
        ratio = f"{_cpu(runs, name) / _cpu(runs, floor):.2f}" if floor in runs else ""
        waits = [_spread([taken.wall for taken in by_latency[latency]]) for latency in LATENCIES_MS]
        cpus = _spread([1e6 * taken.cpu / bars for taken in _all(by_latency)])
        peak = median(taken.mb for taken in _all(by_latency))
        rows.append([name, cpus, ratio, *waits, f"{peak:.0f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def lines(grown: Sequence[Growth]) -> str:
    """A line for each growth."""
    return "\n".join(
        f"* {each.work}: {', '.join(f'{_number(cost)} ms at {size:,}' for size, cost in each.points)} {each.of}"
        for each in grown
    )


def write_page(
    runs: Runs, floors: Mapping[str, str], grown: Sequence[Growth], *, series: int, bars: int, to: Path
) -> None:
    """Put docs/performance.md and its pictures into a directory."""
    page = _PAGE.format(
        series=series,
        bars=bars,
        rounds=min(len(each) for by_latency in runs.values() for each in by_latency.values()),
        table=table(runs, floors, bars=series * bars),
        growths=lines(grown),
        clients_picture=CLIENTS_PICTURE,
        growth_picture=GROWTH_PICTURE,
    )
    (to / "performance.md").write_text(page, encoding="utf-8")
    _draw_clients(runs, series * bars).savefig(to / CLIENTS_PICTURE, metadata={"Date": None})
    _draw_growth(grown).savefig(to / GROWTH_PICTURE, metadata={"Date": None})


def _draw_clients(runs: Runs, bars: int) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    cpu, wall, peak = figure.subplots(1, 3, sharey=True)
    names = list(runs)[::-1]
    colors = [_OURS if name.startswith("tv_etl") else _FLOOR if name.startswith("floor") else _OTHERS for name in names]
    _draw_bars(cpu, "CPU, µs per bar", names, [1e6 * _cpu(runs, name) / bars for name in names], colors)
    latency = LATENCIES_MS[-1]
    walls = [median(taken.wall for taken in runs[name][latency]) for name in names]
    _draw_bars(wall, f"seconds, {latency} ms away", names, walls, colors)
    _draw_bars(
        peak, "peak of memory, MB", names, [median(each.mb for each in _all(runs[name])) for name in names], colors
    )
    return figure


def _draw_bars(axes: Axes, title: str, names: Sequence[str], values: Sequence[float], colors: Sequence[str]) -> None:
    drawn = axes.barh(names, values, color=colors)
    axes.bar_label(drawn, [_number(value) for value in values], padding=2, fontsize=8)
    axes.set_title(title, fontsize=10)
    axes.margins(x=0.18)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_growth(grown: Sequence[Growth]) -> Figure:
    figure = Figure(figsize=(10, 2.6), layout="constrained")
    for axes, growth in zip(figure.subplots(1, len(grown)), grown, strict=True):
        sizes, costs = zip(*growth.points, strict=True)
        axes.plot(sizes, costs, color=_OURS, marker="o")
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_ylim(0, 1.3 * max(costs))
        axes.set_title(growth.work, fontsize=9)
        axes.set_xlabel(growth.of)
        axes.set_ylabel("ms of CPU")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _all(by_latency: Mapping[int, Sequence[Taken]]) -> list[Taken]:
    return [taken for each in by_latency.values() for taken in each]


def _cpu(runs: Runs, name: str) -> float:
    return median(taken.cpu for taken in _all(runs[name]))


def _spread(values: Sequence[float]) -> str:
    return f"{_number(median(values))} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
