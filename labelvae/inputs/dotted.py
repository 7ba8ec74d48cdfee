"""Nested settings under dotted names."""

from __future__ import annotations

from typing import Any


def flat(nested: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names.

    >>> flat({"vae": {"latent_dim": 16}})
    {'vae.latent_dim': 16}
    """
    values: dict[str, Any] = {}
    for name, value in nested.items():
        values |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return values
