"""Reads {"schema": …, "values": [[definition, value], …]} and prints for each value null, or what is wrong with it."""

import json
import sys

import jsonschema_rs

asked = json.load(sys.stdin)
schema = asked["schema"]
validators = {}
faults = []
for definition, value in asked["values"]:
    if definition not in validators:
        own = {"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
        validators[definition] = jsonschema_rs.validator_for(own)
    wrong = [error.message for error in validators[definition].iter_errors(value)]
    faults.append("; ".join(wrong) or None)
json.dump(faults, sys.stdout)
