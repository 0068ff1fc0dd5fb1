"""Whatever Apprise knows: a hundred services, each by an address of its form (github.com/caronc/apprise/wiki).

The extra `apprise`. It makes its connections itself and cannot be told how, so it runs in a process of its own
(apprise_process), with nothing of our environment: there every connection is checked, the proxy is the only way out if
there is one, and the end of the process is the end of a call that hangs.
"""

import json
import os
import re
import subprocess  # nosec B404: our own module, by this interpreter
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import ClassVar, Literal

from pydantic import Field

from tv_etl.alerts.events import Severity
from tv_etl.alerts.messages import by_severity, linked, title
from tv_etl.alerts.targets.target import (
    MAX_REASON,
    Envelope,
    Place,
    Rate,
    Secrets,
    TargetSpec,
    VariableName,
    Verdict,
    failed,
)
from tv_etl.tradingview.printable import printable

PROCESS = "tv_etl.alerts.targets.apprise_process"

_FORM = re.compile(r"[a-z0-9]+://\S+", re.IGNORECASE)
_TYPES: dict[Severity, str] = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}
# Of our environment: how Python is found and speaks, and whom it trusts.
_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "TMPDIR")
_MAX_OUTPUT = 64 * 1024


class AppriseTarget(TargetSpec):
    """A service that Apprise knows; needs the extra `apprise`."""

    type: Literal["apprise"] = Field(description="apprise")
    url_env: VariableName = Field(description="Name of the environment variable that holds Apprise's address of it.")

    kind: ClassVar[str] = "apprise"
    rate: ClassVar[Rate] = Rate(burst=1, every_s=1.0)

    def mistake(self, secrets: Mapping[str, str]) -> str:
        if find_spec("apprise") is None:
            return "needs the extra `apprise`: pip install 'tv-etl[apprise]'"
        if not _FORM.fullmatch(secrets[self.url_env]):
            return f"environment variable {self.url_env}: expected an address as Apprise has them, such as gotify://..."
        return ""

    def place(self, secrets: Mapping[str, str]) -> Place:
        # The rest of such an address is a secret, the host often among it.
        return Place(secrets[self.url_env].partition("://")[0], 0, self.allow_private)

    def shown(self, secrets: Mapping[str, str], envelope: Envelope) -> str:
        message = self._message(envelope)
        return f"{message['type']} to {self.place(secrets).host}:\n{message['title']}\n\n{message['body']}"

    def _message(self, envelope: Envelope) -> dict[str, str]:
        events = by_severity(envelope.events)
        is_over = all(each.status == "resolved" for each in events)
        return {
            "title": title(events),
            "body": "\n".join([*(linked(each) for each in events), f"[{envelope.message_id}]"]),
            "type": "success" if is_over else _TYPES[events[0].severity],
        }

    def send(self, secrets: Secrets, envelope: Envelope, proxy: str, left_s: float) -> Verdict:
        """One call of Apprise, in a process that ends with it."""
        settings = {"url": secrets[self.url_env], "allow_private": self.allow_private, "proxy": proxy}
        message = {**self._message(envelope), **settings}
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        if proxy:
            environment |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy}
        command = [sys.executable, "-W", "ignore", "-m", PROCESS]
        try:
            done = subprocess.run(  # nosec B603: no shell, and nothing of a user's in it
                command, input=json.dumps(message).encode(), capture_output=True, timeout=left_s, env=environment
            )
        except subprocess.TimeoutExpired:
            return failed("no answer in time")
        except OSError as error:
            return failed(type(error).__name__)
        return _verdict(done.returncode, done.stdout[:_MAX_OUTPUT])


def _verdict(code: int, output: bytes) -> Verdict:
    try:
        found = json.loads(output)
        is_sent, said = bool(found["is_sent"]), printable(str(found["said"]), MAX_REASON)
    except (ValueError, KeyError, TypeError):
        return failed(f"Apprise ended with exit code {code}")
    return Verdict(is_sent=True, answer=said or "accepted") if is_sent else failed(said or "Apprise could not send it")
