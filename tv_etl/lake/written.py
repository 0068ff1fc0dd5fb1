"""When the bars of a series last changed, and who changed them: what tells one state of a series from another."""

import socket
import sys
from pathlib import Path
from typing import NamedTuple

_NEXT_S = 1e-6  # times are kept to the microsecond


class Writer(NamedTuple):
    """Who writes: a program on a host; where an orchestrator started it, the id of the run and the asset it makes."""

    program: str
    host: str
    run: str = ""
    asset: str = ""

    @classmethod
    def here(cls, program: str = "", *, run: str = "", asset: str = "") -> "Writer":
        """This process; without a name, by that of its command."""
        return cls(program or Path(sys.argv[0]).name or "python", socket.gethostname(), run, asset)

    def __str__(self) -> str:
        what = f"run {self.run} of {self.asset}" if self.run else self.program
        return f"{what} on {self.host}"


class Written(NamedTuple):
    """The bars changed at a time (UTC seconds); no two changes of a series that follow each other have the same one."""

    at: float
    by: Writer

    def after(self, known: "Written | None") -> "Written":
        """The same, told apart from the change before it."""
        at = round(self.at, 6)
        return Written(round(at + _NEXT_S, 6) if known is not None and known.at == at else at, self.by)
