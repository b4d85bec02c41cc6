"""Where the rehearsal keeps things: what may be thrown away, and what belongs to the running cloud."""

import os
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
"""The checkout that this code runs from."""

CACHE = Path(os.environ.get("DRYDOCK_CACHE") or Path.home() / ".cache" / "drydock")
"""Built things, keyed by the content of what they are made from; safe to delete while no cloud runs."""

STATE = Path(os.environ.get("DRYDOCK_STATE") or "/var/lib/drydock")
"""Everything of the running cloud and of its Pulumi stacks; gone after `drydock rehearsal stop`."""
