"""A shop that takes off its stock what it sells, and nothing more: what Tryton has assigned to sales and not sent is offered nowhere
again. And what else an order from such a shop may be: a line without an article, another day, another currency.

reserved.py ERP_URL BINARY FOLDER [ROOT]
"""

import base64
import datetime
import json
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
import seed  # noqa: E402
from tryton_api import Erp  # noqa: E402
from world import ensure  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CODE = "ART-0005"
CONFIG = """
[systems.erp]
adapter    = "tryton"
url        = "{erp}"
database   = "erp"
user       = "api"
password   = {{ env = "ERP_PASSWORD" }}
languages  = ["en", "es"]
warehouses = {{ MAD = 5 }}
warehouse  = 5
countries  = {{ ES = 1 }}
taxes      = {{ 21 = 1, 10 = 2, 4 = 3 }}
payment_term = 1
timezone   = "Europe/Madrid"
limits     = {{ settle = "1s" }}

[systems.shop]
adapter  = "woocommerce"
url      = "{shop}"
key      = {{ env = "SHOP_KEY" }}
secret   = {{ env = "SHOP_SECRET" }}
language = "en"
tax_included = false
limits   = {{ settle = "1s" }}

[flows.catalog]
entities = ["category", "product", "price", "stock"]
from     = "erp"
to       = ["shop"]
where    = {{ product = 'sku == "{code}"', price = 'sku == "{code}"', stock = 'sku == "{code}"' }}

[flows.sales]
entities = ["customer", "order"]
from     = "shop"
to       = ["erp"]
match    = {{ customer = ["email"] }}
guests   = "create"

[paths]
adapters = ["{root}/adapters"]
mappings = ["{root}/mappings"]
"""


class Stage:
    def __init__(self, erp, binary, folder):
        self.erp, self.binary, self.folder = Erp(erp), binary, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        config = CONFIG.format(erp=erp, shop=self.url, code=CODE, root=ROOT)
        (self.folder / "vaiven.toml").write_text(config)
        command = [binary, "sandbox", "--file", "shop.db", "--listen", self.url.removeprefix("http://"), "--currency", "EUR"]
        for tax in [":21:IVA", "reduced-rate:10:IVA", "super-reduced-rate:4:IVA"]:
            command += ["--tax", tax]
        self.sandbox = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self.shop("GET", "/products")
                return
            except OSError:
                time.sleep(0.1)
        sys.exit("the sandbox does not answer")

    def shop(self, method, path, body=None):
        request = urllib.request.Request(f"{self.url}/wp-json/wc/v3{path}", method=method)
        request.add_header("authorization", "Basic " + base64.b64encode(b"ck_sandbox:cs_sandbox").decode())
        if body is not None:
            request.add_header("content-type", "application/json")
            request.data = json.dumps(body).encode()
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def vaiven(self, *arguments, code=0):
        environment = {"ERP_PASSWORD": "api-lab-1234", "SHOP_KEY": "ck_sandbox", "SHOP_SECRET": "cs_sandbox"}
        process = subprocess.run([self.binary, *arguments, "--json"], cwd=self.folder, env=environment, capture_output=True, text=True)
        if process.returncode != code:
            print(process.stdout, process.stderr)
        ensure(f"exit code of vaiven {' '.join(arguments)}", process.returncode, code)
        return json.loads(process.stdout)

    def once(self, code=0):
        # Two passes: the figures that know of an order are read by the second.
        self.vaiven("run", "--once", code=code)
        return self.vaiven("run", "--once", code=code)

    def count(self, quantity):
        (row,) = self.erp.search("product.product", [["code", "=", CODE]], ["code"])
        seed.count(self.erp, seed.warehouses(self.erp)["MAD"], {row["id"]: quantity})

    def offered(self):
        (row,) = self.shop("GET", f"/products?sku={CODE}")
        return row["stock_quantity"]

    def buy(self, quantity, **members):
        (row,) = self.shop("GET", f"/products?sku={CODE}")
        address = {"first_name": "Ana", "last_name": "Ruiz", "address_1": "Calle Mayor 1", "city": "Madrid", "postcode": "28001",
                   "country": "ES", "email": "ana@example.es", "phone": "600000001"}
        order = {"set_paid": True, "payment_method": "redsys", "billing": address, "shipping": address,
                 "line_items": [{"product_id": row["id"], "quantity": quantity}], **members}
        return self.shop("POST", "/orders", order)

    def sale(self, order, *fields):
        found = self.erp.search("sale.sale", [["reference", "=", order["number"]]], ["state", *fields])
        return found[0] if found else None


def reserved(stage):
    stage.count(8)
    stage.once()
    ensure("offered to begin with", stage.offered(), 8)
    order = stage.buy(3)
    ensure("offered when three are sold", stage.offered(), 5)
    stage.once()
    ensure("the sale", stage.sale(order)["state"], "processing")
    ensure("offered when the ERP has the sale", stage.offered(), 5)
    stage.count(9)
    stage.once()
    ensure("offered after a count", stage.offered(), 6)
    seed.ship(stage.erp, [order["number"]])
    stage.once()
    ensure("offered after the shipment", stage.offered(), 6)


def odd_orders(stage):
    order = stage.buy(1, fee_lines=[{"name": "Gift wrap", "total": "2.00"}])
    stage.once()
    sale = stage.sale(order, "currency.code", "sale_date", "total_amount", "lines.description", "lines.product", "lines.amount")
    ensure("its currency", sale["currency."]["code"], "EUR")
    ensure("its total", f"{sale['total_amount']:.2f}", order["total"])
    text = [(line["description"], f"{line['amount']:.2f}") for line in sale["lines."] if line["product"] is None]
    ensure("its lines of text", [line for line in text if line[0] != "Rounding"], [("Gift wrap", "2.00")])
    ensure("its day", abs((sale["sale_date"] - datetime.date.today()).days) <= 1, True)
    # Not accepted yet, then cancelled: never in the ERP.
    pending = stage.buy(1, set_paid=False, status="pending")
    stage.once()
    ensure("a sale of what is not accepted", stage.sale(pending), None)
    stage.shop("PUT", f"/orders/{pending['id']}", {"status": "cancelled"})
    stage.once()
    ensure("a sale of what never was", stage.sale(pending), None)
    # Dollars are nobody's euros.
    foreign = stage.buy(1, currency="USD")
    stage.once(code=3)
    ensure("a sale in dollars", stage.sale(foreign), None)
    told = json.dumps(stage.vaiven("jobs", "list", code=3))
    ensure("why not", "USD" in told, True)


def main():
    stage = Stage(*sys.argv[1:4])
    try:
        reserved(stage)
        odd_orders(stage)
    finally:
        stage.sandbox.terminate()
        stage.sandbox.wait()


if __name__ == "__main__":
    main()
