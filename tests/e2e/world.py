"""The pair as the scenarios of both_ways.py see it: both systems through their own APIs, and the engine through its commands."""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
import checkout  # noqa: E402
import seed  # noqa: E402
from tryton_api import Erp  # noqa: E402
from vendure_api import Admin, Refused, Shop  # noqa: E402


def ensure(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


class World:
    def __init__(self, erp, shop, binary, folder):
        self.erp, self.shop, self.erp_url, self.shop_url = Erp(erp), Admin(shop), erp, shop
        self.binary, self.folder = binary, pathlib.Path(folder)

    # --- the engine ---------------------------------------------------------------------------------------------------
    def start(self, *arguments):
        return subprocess.Popen([self.binary, *arguments], cwd=self.folder, stdout=subprocess.PIPE, text=True)

    def vaiven(self, *arguments, code=0):
        """The command's JSON. Exit code 3: something waits for a person or was refused."""
        process = self.start(*arguments, "--json")
        told, _ = process.communicate()
        if process.returncode != code:
            print(told)
        ensure(f"exit code of vaiven {' '.join(arguments)}", process.returncode, code)
        return json.loads(told)

    def once(self, code=0):
        return self.vaiven("run", "--once", code=code)

    # --- the ERP ------------------------------------------------------------------------------------------------------
    def template(self, code):
        (row,) = self.erp.search("product.template", [["code", "=", code]], ["name", "list_price", "products"])
        return row

    def erp_write(self, code, language="en", **values):
        self.erp.do("product.template", "write", [self.template(code)["id"]], values, language=language)

    def erp_names(self, code):
        found = lambda language: self.erp.search("product.template", [["code", "=", code]], ["name"], language=language)[0]["name"]
        return {"en": found("en"), "es": found("es")}

    def erp_count(self, code, **warehouses):
        """What somebody counts of an article with one variant, by warehouse."""
        places = seed.warehouses(self.erp)
        (product,) = self.template(code)["products"]
        for warehouse, quantity in warehouses.items():
            seed.count(self.erp, places[warehouse], {product: quantity})

    def erp_left(self, code):
        """On hand in all warehouses, less what is sold and not shipped, as the ERP foresees it."""
        places = [row["id"] for row in self.erp.search("stock.location", [["type", "=", "warehouse"]], ["code"])]
        (row,) = self.erp.search("product.product", [["code", "=", code]], ["forecast_quantity"], locations=places, with_childs=True)
        return int(row["forecast_quantity"])

    def sale(self, reference):
        (row,) = self.erp.search("sale.sale", [["reference", "=", reference]], ["state", "shipment_state", "shipments", "invoices"])
        return row

    def credits(self, invoice):
        """What its credit notes come to, in cents."""
        (row,) = self.erp.search("account.invoice", [["id", "=", invoice]], ["lines"])
        origins = [f"account.invoice.line,{line}" for line in row["lines"]]
        notes = self.erp.search("account.invoice", [["lines.origin", "in", origins]], ["total_amount"])
        return [int(row["total_amount"] * 100) for row in notes]

    # --- the shop -----------------------------------------------------------------------------------------------------
    def product(self, code):
        query = """query ($c: String!) { products(options: { filter: { code: { eq: $c } } }) {
            items { id enabled translations { languageCode name } } } }"""
        (row,) = self.shop(query, c=code)["products"]["items"]
        return row

    def shop_names(self, code):
        return {one["languageCode"]: one["name"] for one in self.product(code)["translations"]}

    def shop_rename(self, code, language, name):
        self.shop(
            "mutation ($i: UpdateProductInput!) { updateProduct(input: $i) { id } }",
            i={"id": self.product(code)["id"], "translations": [{"languageCode": language, "name": name}]},
        )

    def variant(self, sku):
        query = """query ($s: String!) { productVariants(options: { filter: { sku: { eq: $s } } }) {
            items { id price stockLevels { stockOnHand stockAllocated } } } }"""
        (row,) = self.shop(query, s=sku)["productVariants"]["items"]
        return row

    def price(self, sku):
        return self.variant(sku)["price"]

    def on_hand(self, sku):
        return sum(level["stockOnHand"] for level in self.variant(sku)["stockLevels"])

    def for_sale(self, sku):
        return sum(level["stockOnHand"] - level["stockAllocated"] for level in self.variant(sku)["stockLevels"])

    def shown(self):
        """Codes of what visitors can see."""
        return {row["customFields"]["code"] for row in self.shop.all("products", "enabled customFields { code }") if row["enabled"]}

    def buy(self, number, **quantities):
        """A visitor's order; articles by the number in their code: `a0170=3`."""
        lines = [(self.variant(f"ART-{sku[1:]}")["id"], quantity) for sku, quantity in quantities.items()]
        return checkout.place(Shop(self.shop_url), number, lines)

    def refused(self, sku, quantity):
        """Whether a visitor who wants so many is told that there are not."""
        query = """mutation ($v: ID!, $q: Int!) { addItemToOrder(productVariantId: $v, quantity: $q) {
            ... on Order { code } ... on ErrorResult { errorCode message } } }"""
        try:
            Shop(self.shop_url)(query, v=self.variant(sku)["id"], q=quantity)
        except Refused:
            return True
        return False

    def order(self, code):
        query = """query ($c: String!) { orders(options: { filter: { code: { eq: $c } } }) { items {
            id state total totalWithTax fulfillments { state lines { quantity orderLine { productVariant { sku } } } } } } }"""
        (row,) = self.shop(query, c=code)["orders"]["items"]
        return row

    def fulfilled(self, code):
        """What left for this order: of each fulfillment its state and its lines."""
        lines = lambda one: {line["orderLine"]["productVariant"]["sku"]: line["quantity"] for line in one["lines"]}
        return [(one["state"], lines(one)) for one in sorted(self.order(code)["fulfillments"], key=lambda one: sorted(lines(one)))]

    def paid(self, code):
        (row,) = self.shop("query ($i: ID!) { order(id: $i) { payments { amount } } }", i=self.order(code)["id"])["order"]["payments"]
        return row["amount"]

    def refunds(self, code):
        """What is or will be paid back of this order, each in cents."""
        query = "query ($i: ID!) { order(id: $i) { payments { refunds { total } } } }"
        payments = self.shop(query, i=self.order(code)["id"])["order"]["payments"]
        return [refund["total"] for payment in payments for refund in payment["refunds"]]

    def notes(self, code):
        """What the customer reads beside this order."""
        query = 'query ($i: ID!) { order(id: $i) { history(options: { filter: { type: { eq: "ORDER_NOTE" } } }) { items { isPublic data } } } }'
        notes = self.shop(query, i=self.order(code)["id"])["order"]["history"]["items"]
        return [note["data"]["note"] for note in notes if note["isPublic"]]
