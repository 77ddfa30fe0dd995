"""A bare client of Tryton's JSON-RPC for seeding, life and comparing. Numbers stay exact: Decimals are decoded and encoded."""

import base64
import datetime
import http.client
import json
import urllib.parse
from decimal import Decimal


class Refused(Exception):
    """The server answered with an error of its own."""


def encode(value):
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    if isinstance(value, datetime.date):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    raise TypeError(type(value))


def decode(value):
    kind = value.get("__class__")
    if kind == "Decimal":
        return Decimal(value["decimal"])
    if kind == "datetime":
        return datetime.datetime(*(value[part] for part in ["year", "month", "day", "hour", "minute", "second", "microsecond"]))
    if kind == "date":
        return datetime.date(value["year"], value["month"], value["day"])
    return value


class Erp:
    def __init__(self, url, user="api", password="api-lab-1234", database="erp"):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=120)
        self.database = database
        self.headers = {"content-type": "application/json"}
        self.user, token, *_ = self.call("common.db.login", user, {"password": password})
        session = base64.b64encode(f"{user}:{self.user}:{token}".encode()).decode()
        self.headers["authorization"] = f"Session {session}"
        preferences = self.call("model.res.user.get_preferences", True, {})
        self.context = {"company": preferences["company"], "language": "en"}

    def call(self, method, *params):
        body = json.dumps({"id": 1, "method": method, "params": params}, default=encode)
        self.connection.request("POST", f"/{self.database}/rpc/", body, self.headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise Refused(f"HTTP {answer.status}")
        body = json.loads(text, object_hook=decode)
        if body.get("error"):
            raise Refused(body["error"])
        return body["result"]

    def do(self, model, method, *params, **context):
        return self.call(f"model.{model}.{method}", *params, {**self.context, **context})

    def insist(self, model, method, *params):
        """As a person does who answers every warning with yes."""
        while True:
            try:
                return self.do(model, method, *params)
            except Refused as refused:
                kind, details = refused.args[0][:2]
                if kind != "UserWarning":
                    raise
                self.do("res.user.warning", "skip", details[0], True)

    def credit(self, invoice):
        """Drafts of credit notes for an invoice, as the wizard makes them; gives their ids."""
        wizard = self.call("wizard.account.invoice.credit.create", self.context)[0]
        start = {"with_refund": False, "with_refund_allowed": False, "invoice_date": None}
        where = {**self.context, "active_model": "account.invoice", "active_id": invoice, "active_ids": [invoice]}
        self.call("wizard.account.invoice.credit.execute", wizard, {"start": start}, "credit", where)
        lines = self.search("account.invoice", [["id", "=", invoice]], ["lines"])[0]["lines"]
        origins = [f"account.invoice.line,{line}" for line in lines]
        return [row["id"] for row in self.search("account.invoice", [["lines.origin", "in", origins]], ["state"])]

    def search(self, model, domain, fields, limit=None, **context):
        return self.do(model, "search_read", domain, 0, limit, [["id", "ASC"]], fields, **context)

    def ids(self, model, key, domain=None):
        """Value of a field to id, over all records."""
        return {row[key]: row["id"] for row in self.search(model, domain or [], [key])}
