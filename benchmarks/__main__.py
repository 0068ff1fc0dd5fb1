"""`make bench`: what the same bars cost different clients, and how our cost grows, as a table.

With --write docs/performance.md and its pictures are written anew (the extra `bench`).
"""

import argparse
import sys
from itertools import islice

from benchmarks.growth import growths
from benchmarks.report import lines, table, write_page
from benchmarks.runs import CHECKOUT, CLIENTS, is_installed, measured
from tv_etl.market_server.market.listing_rules import rule_symbols


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--bars", type=int, default=5_000, help="of each series")
    parser.add_argument("--only", action="append", default=[], help="the clients whose name holds this text")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    wanted = [each for each in CLIENTS if not options.only or any(text in each.name for text in options.only)]
    clients = [each for each in wanted if is_installed(each)]
    for each in wanted:
        if each not in clients:
            tell(f"{each.name} is skipped: `make peers` installs it")
    symbols = list(islice(rule_symbols(), options.series))
    runs = measured(clients, symbols, options.bars, options.rounds, tell)
    floors = {each.name: each.floor for each in clients}
    print(table(runs, floors, bars=options.series * options.bars))
    if options.only:
        return
    grown = growths(options.rounds)
    print(lines(grown))
    if options.write:
        write_page(runs, floors, grown, series=options.series, bars=options.bars, to=CHECKOUT / "docs")


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
