"""The Pulumi program: load the settings, plan, build, export."""

import pulumi

from cluster.problems import BadInput
from infra.program import build
from infra.settings import load_plan

try:
    plan = load_plan()
except BadInput as refused:
    # Before anything is declared, and without the traceback of a program that failed.
    raise pulumi.RunError(str(refused)) from None
pulumi.log.info(plan.summary())
for note in plan.notes:
    pulumi.log.warn(note)
build(plan)
