"""Real data for tests, which is not part of the project: a folder `shared/data` beside the checkout."""

from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[2] / "shared" / "data"


def shared(path: str) -> Path:
    """The file or folder `path` of the shared data. Skips the test where it is absent."""
    found = _FOLDER / path
    if not found.exists():
        pytest.skip(f"needs ../shared/data/{path}, which is not part of the project")
    return found
