"""Reads the summary of `vaiven run --once --json`; fails unless nothing had changed, nothing was written, nothing is left."""

import json
import sys

summary = json.load(sys.stdin)
changed = [f"{run['system']} {run['entity']}: {run['balance']}" for run in summary["runs"]
           if run["balance"]["changed"] or run["balance"]["rejected"] or run["balance"]["gone"] or run["error"]]
delivered = {name: count for name, count in summary["delivered"].items() if count}
if changed or delivered or summary["left"] or summary["rejected"]:
    sys.exit(f"not quiet: {changed}, delivered {delivered}, left {summary['left']}, {summary['rejected']} rejected")
