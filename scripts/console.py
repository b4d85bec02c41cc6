"""Where tables go: rich on a terminal, plain text elsewhere."""

import os

from rich.console import Console

PLAIN_WIDTH = 140
"""Columns where neither a terminal nor COLUMNS says how many there are."""


def standard_output() -> Console:
    """The terminal, or a plain page; what looks like markup in a name is printed as it stands."""
    console = Console(highlight=False, markup=False)
    if console.is_terminal:
        return console
    width = None if os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Console(width=width, highlight=False, markup=False, no_color=True)
