"""Request bodies as JSON objects, as TensorFlow Serving reads them."""

from __future__ import annotations

import json
from typing import Any

import orjson
from tidemill_contracts.errors import Malformed

from tidemill_gateway.plane.signatures import DEFAULT_SIGNATURE

HEAVY_BYTES = 256 * 1024
"""Bodies over this are converted in a thread: others should not wait for them."""
_TOKENS = (b"NaN", b"Infinity")


def parse(body: bytes) -> dict[str, Any]:
    """The body as an object; NaN and Infinity are numbers, as TensorFlow Serving has it.

    Raises:
        Malformed: it is not JSON, or not an object.
    """
    if not body.strip():
        raise Malformed("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _parse_with_tokens(body, error)
    if not isinstance(document, dict):
        raise Malformed("Request body must be a JSON object")
    return document


def signature_name(document: dict[str, Any]) -> str:
    """Which signature a document asks for; raises Malformed if that is no text."""
    name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise Malformed("'signature_name' key must be a string value")
    return name or DEFAULT_SIGNATURE


def _parse_with_tokens(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """orjson has no NaN; the standard parser has, and is asked only when such a token is there."""
    if any(token in body for token in _TOKENS):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            pass
    raise Malformed(f"JSON Parse error: {error}") from error
