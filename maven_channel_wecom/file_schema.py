"""The command `schema`, which prints the JSON Schema (2020-12) of a configuration file with channels of this type."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from maven_channel_wecom.config import TYPE, entry_schema
from maven_channel_wecom.host.configuration import AGENT_KEYS, CRON_KEYS, GATEWAY_KEYS, LOGGING_KEYS, SECTIONS
from maven_channel_wecom.settings import ENABLED, key_schema, object_schema

if TYPE_CHECKING:
    from collections.abc import Mapping


def file_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file."""
    return document_schema({TYPE: entry_schema()})


def document_schema(channels: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the whole file. `channels` maps a channel type to the schema of an entry.

    The type of an entry is its `type`, or else its name. A disabled entry may be incomplete.
    """
    schema = object_schema(SECTIONS)
    parts = schema["properties"]
    parts["$schema"] = {"type": "string"}
    for name, keys in (("gateway", GATEWAY_KEYS), ("agent", AGENT_KEYS), ("logging", LOGGING_KEYS)):
        parts[name] |= object_schema(keys)
    parts["agent"]["dependentRequired"] = {key.name: ["type"] for key in AGENT_KEYS if key.name != "type"}
    parts["cron"]["items"] = object_schema(CRON_KEYS) | {
        "oneOf": [{"required": ["every"]}, {"required": ["schedule"]}],
        "dependentRequired": {"timezone": ["schedule"]},
    }
    entry: dict[str, Any] = {"type": "object", "properties": {ENABLED.name: key_schema(ENABLED)}}
    named = {}
    conditions = []
    for type_ in channels:
        is_of_type = {"properties": {"type": {"const": type_}, ENABLED.name: {"const": True}}}
        then = {"$ref": f"#/$defs/{type_}"}
        named[type_] = entry | {"if": is_of_type, "then": then}
        conditions.append({"if": is_of_type | {"required": ["type"]}, "then": then})
    parts["channels"] |= {
        "propertyNames": {"pattern": r"\S"},
        "properties": named,
        "additionalProperties": entry | ({"allOf": conditions} if conditions else {}),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Maven gateway 网关配置",
        **schema,
        "$defs": dict(channels),
    }


def main() -> int:
    """Print the schema and return the exit code."""
    sys.stdout.write(json.dumps(file_schema(), ensure_ascii=False, indent=2) + "\n")
    return 0
