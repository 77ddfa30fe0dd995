"""A bare client of Vendure's two GraphQL APIs for seeding, checking out and comparing."""

import http.client
import json
import urllib.parse


class Refused(Exception):
    """The server answered, but not with what was asked."""


class Api:
    def __init__(self, url, path):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)
        self.path = path
        self.headers = {"content-type": "application/json"}

    def __call__(self, query, **variables):
        self.connection.request("POST", self.path, json.dumps({"query": query, "variables": variables}), self.headers)
        answer = self.connection.getresponse()
        token = answer.headers.get("vendure-auth-token")
        body = json.loads(answer.read())
        # The server ends connections that are idle; the next request opens one.
        self.connection.close()
        if token:
            self.headers["authorization"] = f"Bearer {token}"
        if body.get("errors"):
            raise Refused(body["errors"][0]["message"])
        for value in body["data"].values():
            if isinstance(value, dict) and value.get("errorCode"):
                raise Refused(value.get("message", value["errorCode"]))
        return body["data"]


class Admin(Api):
    def __init__(self, url, user="superadmin", password="superadmin"):
        super().__init__(url, "/admin-api")
        self(
            "mutation ($u: String!, $p: String!) { login(username: $u, password: $p) { __typename } }",
            u=user,
            p=password,
        )

    def all(self, field, selection, options=None, page=500):
        """Every item of a list query, in the order of ids."""
        items = []
        kind = {"products": "Product", "productVariants": "ProductVariant", "collections": "Collection",
                "customers": "Customer", "orders": "Order"}[field]
        query = f"query ($o: {kind}ListOptions) {{ {field}(options: $o) {{ totalItems items {{ {selection} }} }} }}"
        while True:
            answer = self(query, o={**(options or {}), "skip": len(items), "take": page, "sort": {"id": "ASC"}})[field]
            items += answer["items"]
            if len(items) >= answer["totalItems"] or not answer["items"]:
                return items


class Shop(Api):
    def __init__(self, url):
        super().__init__(url, "/shop-api")
