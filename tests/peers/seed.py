"""Fills the test ERP and lives in it. Everything is decided by position, nothing by chance.

seed.py fill URL [PRODUCTS]      products with variants, categories, prices, stock of three warehouses, customers
seed.py change URL               prices, names and stock change, products appear and go
seed.py delete URL               the article that came last is deleted, as nothing was ever done with it
seed.py ship URL REFERENCE...    ships the sales with these references, through every state of their shipments
seed.py shipped URL              how many outgoing shipments are done
"""

import argparse
import sys
from decimal import Decimal

from tryton_api import Erp

CHUNK = 25
FAMILIES = [
    ("Hand tools", "Herramientas manuales", ["Hammers", "Screwdrivers", "Pliers", "Saws", "Spanners"]),
    ("Power tools", "Herramientas eléctricas", ["Drills", "Sanders", "Grinders", "Jigsaws"]),
    ("Fixings", "Fijaciones", ["Screws", "Bolts", "Plugs", "Nails"]),
    ("Paint", "Pintura", ["Interior", "Exterior", "Varnish", "Brushes & rollers"]),
    ("Garden", "Jardín", ["Hoses", "Shears", "Pots"]),
]
ARTICLES = [
    ("Claw hammer", "Martillo de uña"), ("Cordless drill", "Taladro sin cable"), ("Wood screw", "Tornillo de madera"),
    ("Wall paint", "Pintura de pared"), ("Garden hose", "Manguera de jardín"), ("Chisel <hard>", "Formón «duro»"),
    ("Nut & bolt set", "Juego de tuercas & pernos"), ("Sandpaper", "Papel de lija"), ("Pruning shears", "Tijera de podar"),
]
COLOURS, SIZES = ["red", "green", "blue"], ["S", "M", "L"]
TAXES = ["IVA21", "IVA10", "IVA4"]


def chunks(items, size=CHUNK):
    return [items[start:start + size] for start in range(0, len(items), size)]


def price_of(number):
    return Decimal(3 + number * 37 % 290) + Decimal(number * 13 % 100) / 100


def variants_of(number):
    """Options of each variant of the article at this position: one variant, three or six."""
    if number % 5 == 1:
        return "Colour", [{"colour": colour} for colour in COLOURS]
    if number % 10 == 3:
        return "Colour and size", [{"colour": colour, "size": size} for colour in COLOURS[:2] for size in SIZES]
    return None, [None]


def make_categories(erp):
    leaves = []
    for position, (name, translated, children) in enumerate(FAMILIES):
        code = f"F{position + 1}"
        (parent,) = erp.do("product.category", "create", [{"name": name, "code": code}])
        erp.do("product.category", "write", [parent], {"name": translated}, language="es")
        rows = [{"name": child, "code": f"{code}-{at + 1}", "parent": parent} for at, child in enumerate(children)]
        leaves += erp.do("product.category", "create", rows)
    return leaves


def template(number, basics, leaves):
    sku = f"ART-{number:04d}"
    name, _ = ARTICLES[number % len(ARTICLES)]
    options, variants = variants_of(number)
    products = []
    for at, attributes in enumerate(variants):
        variant = {"suffix_code": "" if attributes is None else f"-{at + 1}", "cost_price": Decimal("1.50")}
        products.append({**variant, "attributes": attributes} if attributes else variant)
    return {
        "name": f"{name} {number}", "code": sku, "type": "goods", "salable": True,
        "default_uom": basics["unit"], "sale_uom": basics["unit"], "list_price": price_of(number),
        "account_category": basics["taxes"][TAXES[number % 7 % 3]],
        "categories": [["add", [leaves[number % len(leaves)]] + ([leaves[(number + 3) % len(leaves)]] if number % 4 == 0 else [])]],
        "attribute_set": basics["sets"][options] if options else None,
        "products": [["create", products]],
    }


def basics_of(erp):
    return {
        "unit": erp.search("product.uom", [["symbol", "=", "u"]], ["symbol"])[0]["id"],
        "taxes": erp.ids("product.category", "code", [["accounting", "=", True]]),
        "sets": erp.ids("product.attribute.set", "name"),
    }


def make_products(erp, numbers, basics, leaves):
    for part in chunks(list(numbers)):
        ids = erp.do("product.template", "create", [template(number, basics, leaves) for number in part])
        for number, template_id in zip(part, ids):
            if number % 2 == 0:
                translated = f"{ARTICLES[number % len(ARTICLES)][1]} {number}"
                erp.do("product.template", "write", [template_id], {"name": translated}, language="es")


def warehouses(erp):
    rows = erp.search("stock.location", [["type", "=", "warehouse"]], ["code", "storage_location"])
    return {row["code"]: row["storage_location"] for row in rows}


def count(erp, warehouse, quantities):
    """An inventory of one warehouse, confirmed: product id to quantity."""
    for part in chunks(list(quantities.items()), 100):
        lines = [{"product": product, "quantity": float(quantity)} for product, quantity in part]
        ids = erp.do("stock.inventory", "create", [
            {"location": warehouse, "empty_quantity": "keep", "lines": [["create", lines]]}])
        erp.do("stock.inventory", "confirm", ids)


def make_stock(erp):
    products = erp.search("product.product", [["type", "=", "goods"]], ["code"])
    for at, (code, location) in enumerate(sorted(warehouses(erp).items())):
        # Sales are shipped from Madrid, which has everything.
        stocked = [row["id"] for row in products if code == "MAD" or (row["id"] + at) % 3]
        quantities = {product: 20 + (product * 7 + at * 11) % 80 for product in stocked}
        count(erp, location, quantities)


def make_customers(erp, number):
    (spain,) = erp.search("country.country", [["code", "=", "ES"]], ["code"])
    cities = [("Madrid", "28001"), ("Sevilla", "41001"), ("A Coruña", "15001")]
    rows = []
    for at in range(number):
        company = at % 4 == 0
        city, postcode = cities[at % len(cities)]
        address = {"street_unstructured": f"Calle Mayor {at + 1}", "city": city, "postal_code": postcode, "country": spain["id"]}
        contacts = [{"type": "email", "value": f"customer{at}@example.com"}]
        if at % 3 == 0:
            contacts.append({"type": "phone", "value": f"+34 910 000 {at:03d}"})
        rows.append({
            "name": f"Talleres Núñez {at} S.L." if company else f"Ana Gómez {at}",
            "addresses": [["create", [address]]],
            "contact_mechanisms": [["create", contacts]],
        })
    for part in chunks(rows):
        erp.do("party.party", "create", part)


def fill(erp, products):
    basics, leaves = basics_of(erp), make_categories(erp)
    make_products(erp, range(products), basics, leaves)
    make_stock(erp)
    make_customers(erp, 40)


def change(erp):
    basics = basics_of(erp)
    templates = erp.search("product.template", [["code", "like", "ART-%"]], ["code", "list_price", "name", "products"])
    for row in templates[0:40]:
        erp.do("product.template", "write", [row["id"]], {"list_price": row["list_price"] + Decimal("0.75")})
    for row in templates[40:60]:
        erp.do("product.template", "write", [row["id"]], {"name": row["name"] + " Pro"})
    count(erp, warehouses(erp)["BCN"], {row["products"][0]: 5 + at for at, row in enumerate(templates[60:90])})
    gone = templates[90:93]
    # The ERP would warn of the stock that is left.
    products = [product for row in gone for product in row["products"]]
    erp.insist("product.product", "write", products, {"active": False})
    erp.insist("product.template", "write", [row["id"] for row in gone], {"active": False})
    leaves = list(erp.ids("product.category", "code", [["accounting", "=", False], ["parent", "!=", None]]).values())
    make_products(erp, range(len(templates), len(templates) + 5), basics, leaves)


def delete(erp):
    (last,) = erp.do("product.template", "search", [["code", "like", "ART-%"]], 0, 1, [["id", "DESC"]])
    erp.do("product.template", "delete", [last])


def ship(erp, references):
    for reference in references:
        (sale,) = erp.search("sale.sale", [["reference", "=", reference]], ["shipments"])
        for step in ["wait", "assign_try", "pick", "pack", "ship", "do"]:
            erp.do("stock.shipment.out", step, sale["shipments"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["fill", "change", "delete", "ship", "shipped"])
    parser.add_argument("url")
    parser.add_argument("rest", nargs="*")
    arguments = parser.parse_args()
    erp = Erp(arguments.url)
    if arguments.what == "fill":
        fill(erp, int(arguments.rest[0]) if arguments.rest else 300)
    elif arguments.what == "change":
        change(erp)
    elif arguments.what == "delete":
        delete(erp)
    elif arguments.what == "ship":
        ship(erp, arguments.rest)
    else:
        print(erp.do("stock.shipment.out", "search_count", [["state", "=", "done"]], 0, None))


if __name__ == "__main__":
    sys.exit(main())
