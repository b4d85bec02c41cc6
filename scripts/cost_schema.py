"""Write docs/cost.schema.json: what `drydock cost --json` prints.

python -m scripts.cost_schema
"""

import json

from cluster.cost_report import CostReport
from rehearsal import paths

FILE = paths.REPO / "docs" / "cost.schema.json"

if __name__ == "__main__":
    schema = CostReport.model_json_schema(mode="serialization")
    FILE.write_text(json.dumps(schema, indent=2) + "\n")
