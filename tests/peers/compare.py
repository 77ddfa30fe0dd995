"""Compares both systems through their own APIs, without the engine: compare.py ERP-URL SHOP-URL

Prints a table of equal and different objects and each difference; exits 1 when there is one.
"""

import sys
from collections import Counter

from tryton_api import Erp
from vendure_api import Admin

LOCATIONS = {"MAD": "Madrid", "BCN": "Barcelona", "SVQ": "Sevilla"}
TAXES = {"IVA21": "general", "IVA10": "reduced", "IVA4": "super-reduced"}


def of_erp(url):
    erp = Erp(url)
    everything = {"active_test": False}
    rows = {}
    categories = erp.search("product.category", [["accounting", "=", False]], ["code", "name", "parent.code"])
    spanish = {row["id"]: row["name"] for row in erp.search("product.category", [], ["name"], language="es")}
    codes = {row["id"]: row["code"] for row in categories}
    parent = lambda row: (row["parent."] or {}).get("code")
    rows["category"] = [(row["code"], (row["name"], spanish[row["id"]], parent(row))) for row in categories]

    fields = ["code", "name", "active", "salable", "categories", "account_category.code", "list_price"]
    templates = erp.search("product.template", [["type", "=", "goods"]], fields, **everything)
    spanish = {row["id"]: row["name"] for row in erp.search("product.template", [], ["name"], language="es", **everything)}
    rows["product"] = [
        (row["code"], (row["name"], spanish[row["id"]], bool(row["active"] and row["salable"]),
                       tuple(sorted(codes[category] for category in row["categories"])),
                       TAXES[row["account_category."]["code"]]))
        for row in templates]
    fields = ["code", "active", "attributes", "list_price_used"]
    variants = erp.search("product.product", [["template.type", "=", "goods"]], fields, **everything)
    rows["variant"] = [(row["code"], (bool(row["active"]), tuple(sorted((row["attributes"] or {}).values())))) for row in variants]
    rows["price"] = [(row["code"], int(row["list_price_used"] * 100)) for row in variants]
    rows["stock"] = []
    for warehouse in erp.search("stock.location", [["type", "=", "warehouse"]], ["code"]):
        levels = erp.search("product.product", [["template.type", "=", "goods"]], ["code", "quantity"],
                            locations=[warehouse["id"]], with_childs=True, **everything)
        rows["stock"] += [((row["code"], LOCATIONS[warehouse["code"]]), int(row["quantity"])) for row in levels]

    parties = [row for row in erp.search("party.party", [], ["name", "email", "addresses"]) if row["email"]]
    addresses = {row["id"]: row for row in erp.search("party.address", [], ["street", "city", "postal_code"])}
    first = lambda row: addresses[row["addresses"][0]] if row["addresses"] else {}
    place = lambda row: tuple(row.get(part) for part in ["street", "city", "postal_code"])
    rows["customer"] = [(row["email"], (row["name"], place(first(row)))) for row in parties]

    fields = ["reference", "total_amount", "state", "shipment_state", "party.email", "lines", "shipments"]
    sales = [row for row in erp.search("sale.sale", [], fields) if row["reference"]]
    lines = {row["id"]: row for row in erp.search("sale.line", [], ["product.code", "quantity"])}
    bought = lambda row: tuple(sorted(
        (lines[line]["product."]["code"], int(lines[line]["quantity"])) for line in row["lines"]
        if lines[line]["product."] and lines[line]["product."]["code"] != "SHIPPING"))
    # A sale that is over and shipped nothing was cancelled; in the shop such an order amounts to nothing.
    cancelled = lambda row: row["state"] == "cancelled" or (row["state"], row["shipment_state"]) == ("done", "none")
    total = lambda row: 0 if cancelled(row) else int(row["total_amount"] * 100)
    rows["order"] = [(row["reference"], (row["party."]["email"], total(row), bought(row))) for row in sales]
    states = {row["id"]: row["state"] for row in erp.search("stock.shipment.out", [], ["state"])}
    rows["shipment"] = [(row["reference"], sum(states[shipment] == "done" for shipment in row["shipments"])) for row in sales]
    return rows


def of_shop(url):
    shop = Admin(url)
    rows = {}
    names = lambda row: {one["languageCode"]: one["name"] for one in row["translations"]}
    collections = shop.all("collections", "customFields { code } translations { languageCode name } parent { customFields { code } }")
    parent = lambda row: ((row["parent"] or {}).get("customFields") or {}).get("code")
    rows["category"] = [
        (row["customFields"]["code"], (names(row)["en"], names(row).get("es"), parent(row))) for row in collections]
    products = shop.all("products", """enabled customFields { code } translations { languageCode name }
        facetValues { code facet { code } } variants { taxCategory { name } }""", page=100)
    rows["product"] = [
        (row["customFields"]["code"], (names(row)["en"], names(row).get("es"), row["enabled"],
         tuple(sorted(value["code"] for value in row["facetValues"] if value["facet"]["code"] == "category")),
         row["variants"][0]["taxCategory"]["name"] if row["variants"] else None)) for row in products]
    variants = shop.all("productVariants", """sku enabled price options { name } product { enabled }
        stockLevels { stockLocation { name } stockOnHand }""")
    out_of_sale = {row["sku"] for row in variants if not (row["enabled"] and row["product"]["enabled"])}
    rows["variant"] = [(row["sku"], (row["enabled"], tuple(sorted(option["name"] for option in row["options"])))) for row in variants]
    rows["price"] = [(row["sku"], row["price"]) for row in variants]
    rows["stock"] = [
        ((row["sku"], level["stockLocation"]["name"]), level["stockOnHand"]) for row in variants for level in row["stockLevels"]]
    customers = shop.all("customers", "firstName lastName emailAddress addresses { defaultBillingAddress streetLine1 city postalCode }")
    place = lambda row: next(
        ((one["streetLine1"], one["city"], one["postalCode"]) for one in row["addresses"] if one["defaultBillingAddress"]),
        (None, None, None))
    rows["customer"] = [
        (row["emailAddress"], (f"{row['firstName']} {row['lastName']}".strip(), place(row))) for row in customers]
    orders = shop.all("orders", """code state totalWithTax customer { emailAddress } fulfillments { state }
        lines { orderPlacedQuantity productVariant { sku } }""", {"filter": {"active": {"eq": False}}}, page=100)
    bought = lambda row: tuple(sorted((line["productVariant"]["sku"], line["orderPlacedQuantity"]) for line in row["lines"]))
    rows["order"] = [(row["code"], (row["customer"]["emailAddress"], row["totalWithTax"], bought(row))) for row in orders]
    done = lambda row: sum(one["state"] in ("Shipped", "Delivered") for one in row["fulfillments"])
    rows["shipment"] = [(row["code"], done(row)) for row in orders]
    out_of_sale |= {code for code, row in rows["product"] if not row[2]}
    return rows, out_of_sale


def main():
    erp, (shop, out_of_sale) = of_erp(sys.argv[1]), of_shop(sys.argv[2])
    failed = False
    print(f"{'':10} {'equal':>6} {'different':>9} {'ERP only':>8} {'shop only':>9} {'doubled':>7}")
    for entity in erp:
        ours, theirs = dict(erp[entity]), dict(shop[entity])
        if entity in ("product", "variant", "price"):
            # What the ERP has no more stays in the shop, out of sale.
            theirs = {key: row for key, row in theirs.items() if key in ours or key not in out_of_sale}
        doubled = sum(count - 1 for rows in (erp, shop) for count in Counter(key for key, _ in rows[entity]).values())
        if entity == "stock":
            # A shop has no level of what was never there.
            ours, theirs = ({key: row for key, row in rows.items() if row or key in ours and key in theirs} for rows in (ours, theirs))
        both = ours.keys() & theirs.keys()
        different = sorted(key for key in both if ours[key] != theirs[key])
        only_erp, only_shop = sorted(ours.keys() - both), sorted(theirs.keys() - both)
        print(f"{entity:10} {len(both) - len(different):6} {len(different):9} {len(only_erp):8} {len(only_shop):9} {doubled:7}")
        for key in different[:5]:
            print(f"    {key}: ERP {ours[key]}, shop {theirs[key]}")
        for where, keys in [("ERP", only_erp), ("shop", only_shop)]:
            if keys:
                print(f"    only in {where}: {', '.join(map(str, keys[:5]))}")
        failed |= bool(different or only_erp or only_shop or doubled)
    sys.exit(failed)


if __name__ == "__main__":
    main()
