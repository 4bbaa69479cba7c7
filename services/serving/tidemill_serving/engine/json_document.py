"""JSON requests as the server reads them: NaN is a number, what follows the first value is ignored."""

from __future__ import annotations

import json
from typing import Any

import orjson

from tidemill_serving.engine.status import StatusError, invalid_argument

SHOWN_LENGTH_MAX = 256
_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\n\r"
_DECODER = json.JSONDecoder()
_SAID = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting ',' delimiter": "Missing a comma or } after an object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}


def parse_object(body: bytes) -> dict[str, Any]:
    """The object of a request's body. Bytes that are no UTF-8 survive in strings as surrogates.

    Raises:
        StatusError: INVALID_ARGUMENT: it is not JSON, or not an object.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:  # NaN, trailing bytes, foreign bytes: rare, and taken by the server
        document = _parse_leniently(body)
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {shown(document)} Is not object")
    return document


def _parse_leniently(body: bytes) -> Any:
    text = body.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    start = len(text) - len(text.lstrip(_SPACE))
    if start == len(text):
        raise invalid_argument("JSON Parse error: The document is empty. at offset: " + str(start))
    try:
        return _DECODER.raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        said = _SAID.get(error.msg.split(" (")[0], error.msg)
        raise _parse_error(said, error.pos) from error
    except RecursionError as error:
        raise _parse_error("The document is nested too deep.", 0) from error
    except ValueError as error:  # an integer of thousands of digits
        raise _parse_error("Number too big to be stored in double.", 0) from error


def _parse_error(said: str, offset: int) -> StatusError:
    return invalid_argument(f"JSON Parse error: {said} at offset: {offset}")


def shown(value: Any) -> str:
    """A value as an error text shows it: cut, so that no request comes back whole."""
    if isinstance(value, float) and value != value:
        return "NaN"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        text = "[...]"
    return text if len(text) <= SHOWN_LENGTH_MAX else text[:SHOWN_LENGTH_MAX] + "..."


def type_name(value: Any) -> str:
    """The name of a value's JSON type."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "True" if value else "False"
    for kind, name in ((dict, "Object"), (list, "Array"), (str, "String")):
        if isinstance(value, kind):
            return name
    return "Number"


def text_bytes(text: str) -> bytes:
    """The bytes that a JSON string stood for, also where they are no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate written as an escape, perhaps among foreign bytes
        return text.encode("utf-8", "surrogatepass")
