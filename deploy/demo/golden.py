"""Where the golden data lies that the checks of this folder compare with."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent


def golden_path(name: str) -> Path | None:
    """The set or file `name`: in tests/data/golden when it is committed there, else in the folder
    that SPARKSPAN_GOLDEN_DIR names (default ../shared/data/golden). None when neither has it."""
    external = os.environ.get("SPARKSPAN_GOLDEN_DIR", REPOSITORY.parent / "shared/data/golden")
    for folder in (REPOSITORY / "tests/data/golden", Path(external)):
        if (folder / name).exists():
            return folder / name
    return None
