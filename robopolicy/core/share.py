"""Finds the files that travel with the code: `configs/`, `assets/` and `constraints.txt`.

In a checkout (an editable install) they lie beside the package; in a wheel, inside it under `_share`, where
`setup.py` puts them. The working directory plays no part.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from robopolicy.core.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]


def share(*parts: str) -> Path:
    """The path of a shared file or folder, for example `share("configs", "exp")`.

    Raises:
        UserError: where it is missing; the installation is then incomplete.
    """
    inside = _PACKAGE / "_share"
    path = (inside if inside.is_dir() else _PACKAGE.parent).joinpath(*parts)
    if not path.exists():
        raise UserError(
            f"{'/'.join(parts)} is missing at {path}: this installation is incomplete; "
            f"install robopolicy again (pip install --force-reinstall --no-deps robopolicy)"
        )
    return path


def checkout() -> Path | None:
    """The root of the checkout this package runs from, or None in an installed wheel."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and not (_PACKAGE / "_share").is_dir() else None


def refuse_foreign_packages() -> None:
    """Refuse a stranger's `sim` package that hides ours.

    Raises:
        UserError: names where the stranger lies.
    """
    found = importlib.util.find_spec("sim")
    places = list(found.submodule_search_locations or []) if found else []
    ours = _PACKAGE.parent / "sim"
    if places and ours.is_dir() and ours.resolve() not in [Path(place).resolve() for place in places]:
        raise UserError(
            f"another package named 'sim' at {places[0]} hides the one of robopolicy at {ours}; "
            f"take its folder off PYTHONPATH (or start from another working directory)"
        )
