"""Sets up a small Spanish company in a fresh Tryton database: company.py CONF DATABASE

Euro, Spanish taxes with one accounting category each, three warehouses, catalog attributes, a shipping service,
and the user `api` that an integration logs in with. Everything an integration refers to has a code of its own.
"""

import sys
from decimal import Decimal

from proteus import Model, config
from trytond import config as trytond_config

conf, database = sys.argv[1:3]
trytond_config.update_etc(conf)
session = config.set_trytond(f"sqlite:///{database}", user="admin", config_file=conf)

from trytond.modules.account.tests.tools import create_chart, create_fiscalyear, create_tax, get_accounts  # noqa: E402
from trytond.modules.account_invoice.tests.tools import set_fiscalyear_invoice_sequences  # noqa: E402
from trytond.modules.company.tests.tools import create_company, get_company  # noqa: E402
from trytond.modules.currency.tests.tools import get_currency  # noqa: E402


def new(model, **values):
    record = Model.get(model)(**values)
    record.save()
    return record


def languages():
    Language = Model.get("ir.lang")
    found = Language.find([("code", "in", ["en", "es"])])
    for language in found:
        language.translatable = True
        language.save()


def company():
    party = new("party.party", name="Ferretería Vaivén S.L.")
    create_company(party=party, currency=get_currency("EUR"))
    company = get_company()
    year = set_fiscalyear_invoice_sequences(create_fiscalyear(company))
    year.click("create_period")
    create_chart(company, chart="account.account_template_root_en")
    for code, name in [("ES", "Spain"), ("PT", "Portugal"), ("FR", "France")]:
        new("country.country", code=code, name=name)
    term = Model.get("account.invoice.payment_term")(name="Immediate")
    term.lines.new(type="remainder")
    term.save()
    return company


def taxes(accounts):
    Category = Model.get("product.category")
    categories = {}
    for code, name, rate in [("IVA21", "IVA 21%", "0.21"), ("IVA10", "IVA 10%", "0.10"), ("IVA4", "IVA 4%", "0.04")]:
        tax = create_tax(Decimal(rate))
        tax.name = tax.description = name
        tax.save()
        category = Category(name=name, code=code, accounting=True)
        category.account_expense = accounts["expense"]
        category.account_revenue = accounts["revenue"]
        category.customer_taxes.append(tax)
        category.save()
        categories[code] = category
    return categories


def warehouses():
    Location = Model.get("stock.location")
    (first,) = Location.find([("type", "=", "warehouse")])
    (lost,) = Location.find([("type", "=", "lost_found")], limit=1)
    first.name, first.code, first.lost_found_location = "Madrid", "MAD", lost
    first.save()
    for code, name in [("BCN", "Barcelona"), ("SVQ", "Sevilla")]:
        parts = {}
        for part, kind in [("input", "storage"), ("output", "storage"), ("storage", "storage")]:
            parts[f"{part}_location"] = new("stock.location", name=f"{name} {part}", code=f"{code}-{part}", type=kind)
        new("stock.location", name=name, code=code, type="warehouse", lost_found_location=lost, **parts)


def catalog_basics(tax_categories):
    Attribute, Set = Model.get("product.attribute"), Model.get("product.attribute.set")
    attributes = []
    for name, label in [("colour", "Colour"), ("size", "Size")]:
        attributes.append(new("product.attribute", name=name, string=label, type_="char"))
    sets = [("Colour", attributes[:1]), ("Size", attributes[1:]), ("Colour and size", attributes)]
    for name, members in sets:
        record = Set(name=name)
        record.attributes.extend([Attribute(member.id) for member in members])
        record.save()
    (unit,) = Model.get("product.uom").find([("symbol", "=", "u")], limit=1)
    Template = Model.get("product.template")
    shipping = Template(name="Shipping", code="SHIPPING", type="service", default_uom=unit, salable=True)
    shipping.list_price = Decimal("0")
    shipping.account_category = tax_categories["IVA21"]
    shipping.save()


def integration_user(company):
    user = Model.get("res.user")(name="Integration", login="api", password="api-lab-1234")
    user.groups.extend(Model.get("res.group").find([]))
    user.companies.append(company)
    user.company = company
    user.save()


languages()
the_company = company()
catalog_basics(taxes(get_accounts(the_company)))
warehouses()
configuration = Model.get("product.configuration")(1)
configuration.default_cost_price_method = "fixed"
configuration.save()
integration_user(Model.get("company.company")(the_company.id))
