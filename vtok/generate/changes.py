"""Ways of drawing with some values of one's own, by the names that commands have for them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vtok.generate.sampling.choose import Choice
from vtok.generate.sampling.guidance import Guidance

CHOICE = ("temperature", "top_k", "top_p")
GUIDANCE = ("guidance", "schedule", "power")


def own_choice(choice: Choice, changes: Mapping[str, Any]) -> Choice:
    """A choice with those of the changes that it has."""
    return replace(choice, **{name: value for name, value in changes.items() if name in CHOICE})


def own_guidance(guidance: Guidance, changes: Mapping[str, Any]) -> Guidance:
    """A guidance with those of the changes that it has."""
    names = {"guidance": "scale", "schedule": "schedule", "power": "power"}
    return replace(guidance, **{names[name]: value for name, value in changes.items() if name in names})
