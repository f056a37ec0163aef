"""Answers of a JSON Schema: its type as a column, and the check of each answer."""

import json
from typing import Any

import pyarrow as pa

_SCALARS = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}


class StructuredAnswers:
    """Reads answers that follow a JSON Schema.

    Args:
        schema: of an object.

    Raises:
        ValueError: if it is none, or has what no column can hold.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        import jsonschema.validators

        try:
            validator = jsonschema.validators.validator_for(schema)
            validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise ValueError(f"it is no JSON Schema: {error.message}") from error
        self.schema = schema
        self._validator = validator(schema)
        dtype = arrow_type(schema)
        if not pa.types.is_struct(dtype):
            raise ValueError('it must describe an object: "type": "object" with "properties"')
        self.dtype: pa.StructType = dtype

    def read(self, text: str) -> dict[str, Any]:
        """The answer as the column holds it.

        Raises:
            ValueError: if it is not JSON, or not what the schema says.
        """
        import jsonschema

        value = json.loads(text)
        try:
            self._validator.validate(value)
            pa.array([value], self.dtype)
        except (jsonschema.ValidationError, pa.ArrowException) as error:
            raise ValueError(str(getattr(error, "message", error))) from error
        found: dict[str, Any] = value
        return found

    def caption(self, answer: dict[str, Any]) -> str:
        """What stands in the column `caption`: the property of that name, else a text, else all of it."""
        texts = [answer.get("caption"), *answer.values()]
        found = next((text for text in texts if isinstance(text, str) and text.strip()), None)
        return found or json.dumps(answer, ensure_ascii=False)


def arrow_type(schema: dict[str, Any]) -> pa.DataType:
    """The column type of a JSON Schema.

    Raises:
        ValueError: if it has none.
    """
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [one for one in kind if one != "null"]
        kind = kinds[0] if len(kinds) == 1 else None
    if kind is None and "enum" in schema and all(isinstance(one, str) for one in schema["enum"]):
        kind = "string"
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind == "array" and isinstance(schema.get("items"), dict):
        return pa.list_(arrow_type(schema["items"]))
    if kind == "object" and schema.get("properties"):
        return pa.struct([pa.field(name, arrow_type(part)) for name, part in schema["properties"].items()])
    raise ValueError(f"no column can hold {json.dumps(schema)[:100]}: take objects, arrays, texts, numbers, booleans")
