"""Settles what a new Vendure shop is: prepare.py URL. Euro, English and Spanish, three stock locations, a category facet."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from vendure_api import Admin  # noqa: E402

shop = Admin(sys.argv[1])
shop("mutation { updateGlobalSettings(input: { availableLanguages: [en, es] }) { __typename } }")
(channel,) = shop("{ channels { items { id } } }")["channels"]["items"]
shop(
    "mutation ($input: UpdateChannelInput!) { updateChannel(input: $input) { __typename } }",
    input={
        "id": channel["id"],
        "defaultLanguageCode": "en",
        "availableLanguageCodes": ["en", "es"],
        "defaultCurrencyCode": "EUR",
        "availableCurrencyCodes": ["EUR"],
        "pricesIncludeTax": False,
        "trackInventory": True,
    },
)
(first,) = shop("{ stockLocations { items { id } } }")["stockLocations"]["items"]
shop(
    "mutation ($input: UpdateStockLocationInput!) { updateStockLocation(input: $input) { id } }",
    input={"id": first["id"], "name": "Madrid"},
)
for name in ["Barcelona", "Sevilla"]:
    shop("mutation ($input: CreateStockLocationInput!) { createStockLocation(input: $input) { id } }", input={"name": name})
shop(
    "mutation ($input: CreateFacetInput!) { createFacet(input: $input) { id } }",
    input={"code": "category", "isPrivate": True, "translations": [{"languageCode": "en", "name": "Category"}]},
)
