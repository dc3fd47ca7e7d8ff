"""What an OpenAPI document cannot say of the server API."""

import base64

import schemathesis
from hypothesis import strategies as st

# At most 128 bytes: a schema counts characters. Some of these are there, so that calls do not only meet what is not.
known = st.sampled_from(["bob", "team", "a/b", "小明"])
text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=128)
short = text.filter(lambda text: len(text.encode()) <= 128)
schemathesis.openapi.format("herald-id", known | short)

schemathesis.openapi.format("herald-log-level", st.sampled_from(["info", "warn", "info,herald_gateway=debug"]))
schemathesis.openapi.format("herald-duration", st.sampled_from(["1s", "10m", "24h"]))

schemathesis.openapi.format("herald-base64", st.binary(max_size=64).map(lambda b: base64.b64encode(b).decode()))
schemathesis.openapi.format("herald-content-type", st.sampled_from(["text/plain", "image/png"]))


def one_body(message):
    """Of `body` and `body_base64`."""
    if isinstance(message, dict) and message.get("body") is not None:
        message.pop("body_base64", None)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Parameters that exclude each other: of a case that is meant to be good one of them is left."""
    meta = case.meta
    if meta is None or meta.generation.mode.value != "positive":
        return
    query = case.query
    if isinstance(case.body, dict):
        one_body(case.body)
        messages = case.body.get("messages")
        for message in messages if isinstance(messages, list) else []:
            one_body(message)
    if case.operation.path == "/api/v1/history":
        named = [name for name in ("user", "group", "all") if name in query]
        for name in named[1:]:
            del query[name]
        if not named or named == ["all"]:
            query["all"] = "true"
        if "after" in query and "before" in query:
            del query["before"]
    if case.operation.path == "/api/v1/users/{uid}/connections" and "session" in query:
        query.pop("revoke", None)
