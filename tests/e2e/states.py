"""Fails unless the shop's orders are in a state: states.py SHOP-URL STATE CODE..."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
from vendure_api import Admin  # noqa: E402

url, wanted, *codes = sys.argv[1:]
states = {row["code"]: row["state"] for row in Admin(url).all("orders", "code state", page=100)}
wrong = [f"{code} is {states.get(code)}" for code in codes if states.get(code) != wanted]
sys.exit("; ".join(wrong) or 0)
