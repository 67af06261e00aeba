"""Reads YAML documents and validates them strictly against the schemas of the three newest versions of Kubernetes.

    validate.py CRDS FILE…     (`-` is standard input)

CRDS is a folder of custom resource definitions. Prints the documents as one JSON list; what is wrong goes to standard error, a
line each, and ends with 1. A kind without a schema is wrong: nothing is left unlooked at.
"""

import functools
import json
import pathlib
import sys

import jsonschema
import yaml
from kubernetes_validate import utils

# The package reads its files anew for each document.
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)


def newest_versions():
    minors = {utils.major_minor(version) for version in utils.all_versions()}
    return sorted(minors, key=utils.Version)[-3:]


class Loader(yaml.SafeLoader):
    """Refuses what kubectl refuses too: a key that is given twice."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# Times stay text, as in the API.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Definitions(yaml.CSafeLoader):
    """Definitions name the operator `=`, which YAML 1.1 reserves."""


Definitions.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)


def strict(schema):
    """The schema of a custom resource as JSON Schema, without room for unknown fields."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: strict(value) for key, value in schema.items()}
    if isinstance(out.get("properties"), dict) and isinstance(out.get("type"), str):
        if not out.get("x-kubernetes-preserve-unknown-fields"):
            out.setdefault("additionalProperties", False)
    if out.get("nullable") is True and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out


@functools.lru_cache(maxsize=None)
def custom_resource(folder, api_version, kind):
    """The validator of a custom resource, if its definition is in the folder."""
    group, _, version = api_version.rpartition("/")
    for path in sorted(pathlib.Path(folder).glob(f"{group}_*.yaml")):
        text = path.read_text()
        # Reading one takes a second.
        if f"\n    kind: {kind}\n" not in text:
            continue
        for served in yaml.load(text, Loader=Definitions)["spec"]["versions"]:
            if served["name"] == version:
                schema = strict(served["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                return jsonschema.Draft202012Validator(schema)
    return None


def problems(document, crds):
    if not isinstance(document, dict) or not {"apiVersion", "kind", "metadata"} <= document.keys():
        yield "is no Kubernetes document: it needs apiVersion, kind and metadata"
        return
    validator = custom_resource(crds, document["apiVersion"], document["kind"])
    if validator:
        for error in validator.iter_errors(document):
            yield f"{error.json_path}: {error.message}"
        return
    for version in newest_versions():
        try:
            utils.validate(document, version, strict=True)
        except utils.SchemaNotFoundError as error:
            yield error.message
        except jsonschema.ValidationError as error:
            yield f"{version}: {error.json_path}: {error.message}"


def main(crds, *files):
    documents = []
    wrong = 0
    for name in files:
        text = sys.stdin.read() if name == "-" else pathlib.Path(name).read_text()
        try:
            read = [document for document in yaml.load_all(text, Loader=Loader) if document is not None]
        except yaml.YAMLError as error:
            print(f"{name}: {error}", file=sys.stderr)
            wrong += 1
            continue
        for document in read:
            documents.append(document)
            label = ""
            if isinstance(document, dict):
                label = f"{document.get('kind')} {(document.get('metadata') or {}).get('name')}: "
            for problem in problems(document, crds):
                print(f"{name}: {label}{problem}", file=sys.stderr)
                wrong += 1
    json.dump(documents, sys.stdout)
    return bool(wrong)


sys.exit(main(*sys.argv[1:]))
