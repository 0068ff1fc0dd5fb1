"""The guard of the process that runs Apprise; the process itself is tried in test_apprise."""

from typing import Any

import pytest

from tv_etl.alerts.targets.apprise_process import guard

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("address", "allow_private", "reason"),
    [
        (("1.1.1.1", 443), False, ""),
        (("2606:4700::1111", 443, 0, 0), False, ""),
        (("127.0.0.1", 80), False, "refused: the address is not public (allow_private permits it)"),
        (("127.0.0.1", 80), True, ""),
        (("169.254.169.254", 80), True, "refused: the address is one of the link, or of a cloud's metadata"),
        (("a.example", 80), True, "refused: a name that was not looked up"),
        ("/run/dbus", False, "refused: a socket of this host (allow_private permits it)"),
        ("/run/dbus", True, ""),
        (None, False, ""),
    ],
)
@pytest.mark.parametrize("event", ["socket.connect", "socket.sendto", "socket.sendmsg"])
def test_a_connection_goes_only_where_a_target_may_be(
    event: str, address: Any, allow_private: bool, reason: str
) -> None:
    refused: list[str] = []
    check = guard(allow_private, "", refused)
    if not reason:
        check(event, (None, address))
    else:
        with pytest.raises(PermissionError, match="refused"):
            check(event, (None, address))
    assert refused == ([reason] if reason else [])


def test_with_a_proxy_a_connection_goes_there_and_nowhere_else() -> None:
    check = guard(True, "http://127.0.0.1:3128", [])
    check("socket.connect", (None, ("127.0.0.1", 3128)))
    check("open", ("file", "r", 0))
    for address in [("127.0.0.1", 3129), ("1.1.1.1", 443)]:
        with pytest.raises(PermissionError, match="not through the proxy"):
            check("socket.connect", (None, address))
