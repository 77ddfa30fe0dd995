"""Reads the summary of `vaiven run --once --json`; fails unless nothing was written and nothing is left to do."""

import json
import sys

summary = json.load(sys.stdin)
errors = [f"{run['system']} {run['entity']}: {run['error']}" for run in summary["runs"] if run["error"]]
done = {name: count for name, count in summary["delivered"].items() if count and name not in ("noop", "requests")}
if errors or done or summary["left"] or summary["rejected"]:
    sys.exit(f"not quiet: {errors}, delivered {done}, left {summary['left']}, {summary['rejected']} rejected")
