"""Validates standard input against the schema of SARIF 2.1.0 (the file is OASIS's own)."""

import json
import sys

from jsonschema import Draft7Validator

schema = json.load(open(sys.argv[1]))
Draft7Validator.check_schema(schema)
errors = list(Draft7Validator(schema).iter_errors(json.load(sys.stdin)))
for error in errors:
    print(error.json_path, error.message)
sys.exit(bool(errors))
