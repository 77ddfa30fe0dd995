"""Buys in the shop as a visitor does: checkout.py URL NUMBER [FIRST]. Prints the code of each order placed.

Visitors are told apart by their number: each third has bought before (visitor0 and so on), the others are new.
"""

import sys

from vendure_api import Shop

RESULT = "... on Order { code state } ... on ErrorResult { errorCode message }"


def articles(url):
    shop = Shop(url)
    found = shop("{ products(options: { take: 60 }) { items { variants { id sku stockLevel } } } }")["products"]["items"]
    return [variant for product in found for variant in product["variants"] if variant["stockLevel"] == "IN_STOCK"]


def buy(url, number, variants):
    lines = [(variants[(number * 5 + line * 3) % len(variants)]["id"], 1 + (number + line) % 3) for line in range(1 + number % 3)]
    return place(Shop(url), number, lines)


def place(shop, number, lines):
    """One order of these lines (id of the variant, quantity), paid; returns its code."""
    for variant, quantity in lines:
        shop(
            f"mutation ($v: ID!, $q: Int!) {{ addItemToOrder(productVariantId: $v, quantity: $q) {{ {RESULT} }} }}",
            v=variant,
            q=quantity,
        )
    address = {"fullName": f"Iñigo Compra {number}", "streetLine1": f"Calle Alcalá {number}", "city": "Madrid",
               "postalCode": "28009", "countryCode": "ES", "phoneNumber": "+34 600 000 000"}
    shop(
        f"mutation ($i: CreateCustomerInput!) {{ setCustomerForOrder(input: $i) {{ {RESULT} }} }}",
        i={"firstName": "Iñigo", "lastName": f"Compra {number}", "emailAddress": f"visitor{number // 3 if number % 3 == 0 else 1000 + number}@example.com"},
    )
    shop(f"mutation ($i: CreateAddressInput!) {{ setOrderShippingAddress(input: $i) {{ {RESULT} }} }}", i=address)
    (method, *_) = shop("{ eligibleShippingMethods { id } }")["eligibleShippingMethods"]
    shop(f"mutation ($m: [ID!]!) {{ setOrderShippingMethod(shippingMethodId: $m) {{ {RESULT} }} }}", m=[method["id"]])
    shop('mutation { transitionOrderToState(state: "ArrangingPayment") { ... on Order { code } ... on OrderStateTransitionError { errorCode message transitionError } } }')
    paid = shop(f'mutation {{ addPaymentToOrder(input: {{ method: "dummy", metadata: {{}} }}) {{ {RESULT} }} }}')
    return paid["addPaymentToOrder"]["code"]


def main():
    url, number, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0
    variants = articles(url)
    for at in range(first, first + number):
        print(buy(url, at, variants), flush=True)


if __name__ == "__main__":
    main()
