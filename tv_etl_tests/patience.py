"""How long a test waits before it takes something for hung: one place for every limit of seconds in the tests.

No test says how fast a machine has to be. Where a deadline of the product is what is tested, both sides go by
`own_clock`, or the other side stays silent for good, and what is asserted is which error came and in which order.
TV_ETL_TEST_PATIENCE multiplies both limits, for a machine on which they are too short.
"""

import os
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = float(os.environ.get("TV_ETL_TEST_PATIENCE", "1"))

# A step that takes seconds on an idle machine: a process that starts or ends, an answer, a run.
HANG_S = 180.0 * PATIENCE
# A whole test, which may have several such steps.
TEST_S = 900.0 * PATIENCE

T = TypeVar("T")


def wait_until(what: Callable[[], T], saying: str, *, after_s: float = 0.0) -> T:
    """The first answer that is true, asked for again and again until it takes too long.

    It may take `after_s` seconds more where the product itself waits for so long.
    """
    limit_s = HANG_S + after_s
    deadline = time.monotonic() + limit_s
    while not (answer := what()):
        assert time.monotonic() < deadline, f"not within {limit_s:.0f} s: {saying}; last was {answer!r}"
        time.sleep(0.2)
    return answer
