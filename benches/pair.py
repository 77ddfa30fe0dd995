"""Share of the ceiling: how fast the daemon writes to the live pair, against a bare parallel client in the same run.

    VAIVEN=target/release/vaiven python3 benches/pair.py [PRODUCTS [ORDERS [ROUNDS]]]      (default 300 40 3)

Starts Tryton and Vendure (tests/peers) on free ports, fills them, and lets both sides do the same writes in turn: prices and
stock of all variants in Vendure, sales in Tryton. The daemon's time is that of its deliveries, from the first request of the
first batch to the last answer of the last one, as its attempt history has them; the bare client knows everything beforehand and
only sends, with the number of connections that did best. Prints objects per second of both, and their share.
"""

import concurrent.futures
import os
import pathlib
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "tests/peers"
sys.path.insert(0, str(PEERS))
import checkout  # noqa: E402
import seed  # noqa: E402
from tryton_api import Erp  # noqa: E402
from vendure_api import Admin  # noqa: E402

CACHE = os.environ.get("VAIVEN_CACHE", str(pathlib.Path.home() / ".cache/vaiven"))
VAIVEN = str(pathlib.Path(os.environ.get("VAIVEN", ROOT / "target/release/vaiven")).resolve())
UPDATE = "mutation ($i: [UpdateProductVariantInput!]!) { updateProductVariants(input: $i) { id } }"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def start(peer, work):
    subprocess.run([PEERS / peer / "install.sh", CACHE], check=True, stdout=subprocess.DEVNULL)
    command = [PEERS / peer / "start.sh", CACHE, work / peer, free_port()]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Daemon:
    def __init__(self, work, erp, shop):
        self.home = work / "vaiven"
        self.home.mkdir()
        config = (ROOT / "config/tryton-vendure.toml").read_text()
        config = config.replace("http://127.0.0.1:8000", erp).replace("http://127.0.0.1:3000", shop)
        config += f'\n[paths]\nadapters = ["{ROOT}/adapters"]\nmappings = ["{ROOT}/mappings"]\n'
        (self.home / "vaiven.toml").write_text(config)

    def once(self):
        secrets = {"ERP_PASSWORD": "api-lab-1234", "SHOP_PASSWORD": "superadmin"}
        done = subprocess.run([VAIVEN, "run", "--once"], cwd=self.home, env={**os.environ, **secrets}, text=True, capture_output=True)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)

    def deliver(self, target, entity):
        """One pass; number of objects written and seconds from the first request to the last answer."""
        began = time.time() * 1e6
        self.once()
        with sqlite3.connect(self.home / "state/vaiven.db") as store:
            number, first, last = store.execute(
                """SELECT count(*), min(a.at - a.millis * 1000), max(a.at) FROM attempt a JOIN job j ON j.id = a.job
                   JOIN name t ON t.id = j.target JOIN name e ON e.id = j.entity
                   WHERE a.at > ? AND a.outcome = 'done' AND t.text = ? AND e.text = ?""", (began, target, entity)).fetchone()
        return number, (last - first) / 1e6


def best(work, portions, clients, numbers):
    """Seconds of the number of connections that is done first; `work` is called with (round, portion, client)."""
    seconds = []
    for number in numbers:
        with concurrent.futures.ThreadPoolExecutor(number) as pool:
            began = time.monotonic()
            lanes = [pool.submit(lambda at=at: [work(number, portion, clients[at]) for portion in portions[at::number]]) for at in range(number)]
            for lane in lanes:
                lane.result()
            seconds.append(time.monotonic() - began)
    return min(seconds)


def prices(erp, shop, daemon, clients, round):
    # By less than a brake looks at.
    for row in erp.search("product.template", [["type", "=", "goods"]], ["list_price"]):
        erp.do("product.template", "write", [row["id"]], {"list_price": row["list_price"] + seed.Decimal("0.05")})
    number, seconds = daemon.deliver("shop", "price")
    ids = [row["id"] for row in shop.all("productVariants", "id")]
    send = lambda at, portion, client: client(UPDATE, i=[{"id": id, "price": 100 * at + round} for id in portion])
    return number, seconds, len(ids), best(send, seed.chunks(ids, 100), clients, [2, 4])


def stock(erp, shop, daemon, clients, round):
    products = erp.do("product.product", "search", [["template.type", "=", "goods"]])
    seed.count(erp, seed.warehouses(erp)["MAD"], {product: 500 + round for product in products})
    number, seconds = daemon.deliver("shop", "stock")
    rows = shop.all("productVariants", "id stockLevels { stockLocationId stockOnHand }")
    def send(at, portion, client):
        levels = lambda row: [{**level, "stockOnHand": 700 + 10 * at + round} for level in row["stockLevels"]]
        client(UPDATE, i=[{"id": row["id"], "stockLevels": levels(row)} for row in portion])
    return number, seconds, len(rows), best(send, seed.chunks(rows, 100), clients, [2, 4])


def sales(erp, shop_url, daemon, clients, orders, round):
    variants = checkout.articles(shop_url)
    for at in range(orders):
        checkout.buy(shop_url, 1000 * round + at, variants)
    before = erp.do("sale.sale", "search", [], 0, 1, [["id", "DESC"]])
    number, seconds = daemon.deliver("erp", "order")
    fields = ["party", "reference", "sale_date", "currency", "payment_term", "warehouse", "shipment_address", "invoice_address"]
    made = erp.search("sale.sale", [["id", ">", (before or [0])[0]]], [*fields, "lines"])
    kept = ["type", "product", "unit", "quantity", "unit_price", "description", "taxes"]
    lines = {row["id"]: row for row in erp.search("sale.line", [["sale", "in", [row["id"] for row in made]]], kept)}

    def sale(at, row, client):
        copy = [{**{name: lines[line][name] for name in kept}, "taxes": [["add", lines[line]["taxes"]]]} for line in row["lines"]]
        # As the adapter does it: made, addressed, looked at, and led through its states.
        plain = {name: row[name] for name in fields if not name.endswith("_address")}
        (id,) = client.do("sale.sale", "create", [{**plain, "reference": f"{row['reference']}-{at}", "shipment_method": "order",
                                                   "invoice_method": "order", "lines": [["create", copy]]}])
        client.do("sale.sale", "write", [id], {name: row[name] for name in fields if name.endswith("_address")})
        client.do("sale.sale", "read", [id], ["total_amount"])
        for step in ["quote", "confirm", "process"]:
            client.do("sale.sale", step, [id])
    return number, seconds, len(made), best(sale, made, clients, [1, 2])


def main():
    products, orders, rounds = [int(text) for text in sys.argv[1:]] + [300, 40, 3][len(sys.argv) - 1:]
    work = pathlib.Path(tempfile.mkdtemp())
    try:
        erp_url, shop_url = start("tryton", work), start("vendure", work)
        erp, shop = Erp(erp_url), Admin(shop_url)
        seed.fill(erp, products)
        daemon = Daemon(work, erp_url, shop_url)
        daemon.once()
        erps, shops = [Erp(erp_url) for _ in range(2)], [Admin(shop_url) for _ in range(4)]
        kinds = {
            "prices in Vendure": lambda round: prices(erp, shop, daemon, shops, round),
            "stock in Vendure": lambda round: stock(erp, shop, daemon, shops, round),
            "sales in Tryton": lambda round: sales(erp, shop_url, daemon, erps, orders, round),
        }
        print(f"{'':18} {'objects':>7} {'daemon/s':>9} {'bare/s':>9} {'share':>6}   load {os.getloadavg()[0]:.1f}")
        for kind, measure in kinds.items():
            rates = []
            for round in range(1, rounds + 1):
                number, seconds, bare_number, bare_seconds = measure(round)
                rates.append((number, number / seconds, bare_number / bare_seconds))
            number, daemon_rate, bare_rate = (statistics.median(column) for column in zip(*rates))
            print(f"{kind:18} {number:7.0f} {daemon_rate:9.1f} {bare_rate:9.1f} {daemon_rate / bare_rate:6.0%}   load {os.getloadavg()[0]:.1f}", flush=True)
    finally:
        for peer in ["tryton", "vendure"]:
            subprocess.run([PEERS / "stop_by_pid.sh", work / peer], check=False)
        shutil.rmtree(work, ignore_errors=True)


main()
