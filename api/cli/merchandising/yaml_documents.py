"""YAML files of presets: one mapping from each kind in the file to the documents by name.

    rules:
      black-week:
        when: {from: 2026-11-27}
        then: {bury: {stock: 0}}

Values are those that JSON has: a date stays text, and `NO`, the country, is no truth value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from engine.errors import InputError, short_repr

NOT_IN_JSON = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")
PLURALS = ("placements", "pages", "rules", "segments")
Documents = dict[str, dict[str, Any]]


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses keys that occur twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                raise InputError(f"line {key_node.start_mark.line + 1}: {short_repr(key)} is there twice")
            seen.add(key)
        made: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return made


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in NOT_IN_JSON]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))


def read(path: Path, plural: str) -> dict[str, Documents]:
    """The documents of a file by kind and name. InputError names the line or the key that is wrong, and a file without
    the kind `plural`."""
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected UTF-8 text") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: expected YAML; {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deep") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(found, Mapping) or plural not in found or not set(found) <= set(PLURALS):
        keys = short_repr(list(found)) if isinstance(found, Mapping) else short_repr(found)
        others = ", ".join(each for each in PLURALS if each != plural)
        raise InputError(f"{path}: expected the key `{plural}`, and beside it at most {others}; got {keys}")
    return {kind: _documents(path, kind, documents) for kind, documents in found.items()}


def _documents(path: Path, plural: str, found: object) -> Documents:
    if not isinstance(found, dict):
        raise InputError(f"{path}: {plural}: expected documents by name, got {short_repr(found)}")
    for name, document in found.items():
        if not isinstance(name, str) or not isinstance(document, dict):
            raise InputError(f"{path}: {plural}.{name}: expected a name and a document, got {short_repr(document)}")
    return found


def dump(plural: str, documents: Mapping[str, Mapping[str, Any]]) -> str:
    return text_of({plural: {name: dict(document) for name, document in documents.items()}})


def text_of(value: Mapping[str, Any]) -> str:
    """With sorted keys, because PostgreSQL keeps no order of keys."""
    text: str = yaml.dump(dict(value), Dumper=yaml.SafeDumper, sort_keys=True, allow_unicode=True, width=100)
    return text
