"""`vtok recipes`: the training files that come with the package."""

from typing import Annotated

import typer

from vtok.cli.options import JsonOption
from vtok.cli.pipes import say
from vtok.cli.report import json_line


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's file.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the recipes for `vtok train` with their cost and the score to expect, or show one.

    Example: vtok recipes linear64
    """
    from vtok.recipes import head_comment, names, recipe_file

    if name is not None:
        text = recipe_file(name).read_text(encoding="utf-8")
        say(json_line({"name": name, "text": text}) if as_json else text.rstrip("\n"))
        return
    for recipe in names():
        comment = head_comment(recipe_file(recipe))
        about = comment[0] if comment else ""
        stated = {key: _stated(comment, key) for key in ("cost", "expect")}
        if as_json:
            say(json_line({"name": recipe, "about": about} | stated))
        else:
            say("\n  ".join([recipe, about, *(f"{key}: {text}" for key, text in stated.items() if text)]))


def _stated(comment: list[str], key: str) -> str | None:
    """What follows `KEY:` in the comment at a recipe's head."""
    return next((line.partition(":")[2].strip() for line in comment if line.lower().startswith(f"{key}:")), None)
