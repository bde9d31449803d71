"""Judges files by a JSON Schema: judge.py SCHEMA FILES VERDICTS.

FILES has one JSON document a line; VERDICTS becomes a list with null for each that is valid, and words for each other.
"""

import json
import sys

from jsonschema import Draft202012Validator


def main(schema, files, verdicts):
    with open(schema) as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    with open(files) as lines:
        judged = [next(validator.iter_errors(json.loads(line)), None) for line in lines]
    with open(verdicts, "w") as file:
        json.dump([error and f"{error.json_path}: {error.message[:500]}" for error in judged], file)


if __name__ == "__main__":
    main(*sys.argv[1:])
