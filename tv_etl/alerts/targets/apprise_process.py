"""One call of Apprise, in a process of its own: a message on stdin, what became of it on stdout, both as JSON.

Every connection is checked by an audit hook, which nothing in the process can take away again.
"""

import json
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tv_etl.alerts.targets.addresses import is_literal, refusal

UNKNOWN = "Apprise does not know an address of this form"


def guard(allow_private: bool, proxy: str, refused: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that lets connections through only to where a target may be, or to the proxy if there is one."""
    parts = urlsplit(proxy)
    ways_out: set[tuple[str, int]] = set()
    if parts.hostname:
        port = parts.port or 80
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        ways_out = {(str(each[4][0]), port) for each in found}

    def check(event: str, details: tuple[Any, ...]) -> None:
        if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            return
        address = details[1]
        if address is None:
            return  # connected before
        reason = ""
        if not isinstance(address, tuple):
            reason = "" if allow_private else "refused: a socket of this host (allow_private permits it)"
        elif proxy:
            reason = "" if tuple(address[:2]) in ways_out else "refused: not through the proxy"
        elif not is_literal(str(address[0])):
            reason = "refused: a name that was not looked up"
        else:
            reason = refusal([str(address[0])], allow_private)
        if reason:
            refused.append(reason)
            raise PermissionError(reason)

    return check


class _Heard(logging.Handler):
    """Keeps the last that Apprise has to complain about."""

    said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = record.getMessage()


def send(message: dict[str, Any]) -> tuple[bool, str]:
    """True if the service took it, and what there is to say."""
    import apprise

    heard, refused = _Heard(logging.WARNING), list[str]()
    logging.getLogger("apprise").addHandler(heard)
    asset = apprise.AppriseAsset(async_mode=False, storage_mode=apprise.PersistentStoreMode.MEMORY)
    service = apprise.Apprise(asset=asset)
    if not service.add(message["url"]):
        return False, UNKNOWN
    for each in service:
        if each.overflow_mode == apprise.OverflowMode.UPSTREAM:
            each.overflow_mode = apprise.OverflowMode.SPLIT  # else a service may cut what is too long
    sys.addaudithook(guard(message["allow_private"], message["proxy"], refused))
    is_sent = service.notify(
        title=message["title"],
        body=message["body"],
        notify_type=apprise.NotifyType(message["type"]),
        body_format=apprise.NotifyFormat.TEXT,
    )
    return bool(is_sent), "" if is_sent else (refused or [heard.said])[-1]


if __name__ == "__main__":
    is_sent, said = send(json.load(sys.stdin))
    json.dump({"is_sent": is_sent, "said": said}, sys.stdout)
