"""A project of `dg`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dagster.components.testing import DefsFolderSandbox


@pytest.fixture
def project() -> "Iterator[DefsFolderSandbox]":
    """A project of `dg` with an empty defs folder."""
    from dagster.components.testing import create_defs_folder_sandbox

    with create_defs_folder_sandbox() as sandbox:
        yield sandbox
