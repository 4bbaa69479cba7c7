"""TensorFlow Serving's REST classify and regress."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tidemill_gateway.dialects.example_calls import CLASSIFY, REGRESS, ExamplesCall
from tidemill_gateway.dialects.json_documents import parse, signature_name
from tidemill_gateway.dialects.json_examples import read_examples
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.versions import Resolved


class ClassifyCall(ExamplesCall):
    """``{"examples": [...]}`` to ``{"results": [[[label, score], ...], ...]}``; raises InvalidInput."""

    def __init__(self, body: bytes) -> None:
        document = parse(body)
        super().__init__(CLASSIFY, signature_name(document), read_examples(document))

    def render(self, resolved: Resolved, answer: Answer) -> bytes:
        """The body of the answer."""
        return _results([[[label, _short(score)] for label, score in row] for row in self.classes(answer)])


class RegressCall(ExamplesCall):
    """``{"examples": [...]}`` to ``{"results": [value, ...]}``; raises InvalidInput."""

    def __init__(self, body: bytes) -> None:
        document = parse(body)
        super().__init__(REGRESS, signature_name(document), read_examples(document))

    def render(self, resolved: Resolved, answer: Answer) -> bytes:
        """The body of the answer."""
        return _results([_short(value) for value in self.values(answer)])


def _short(value: float) -> float:
    """The shortest spelling that is still the same float32."""
    return float(str(np.float32(value)))


def _results(listed: list[Any]) -> bytes:
    # The standard library spells NaN and Infinity bare, as TensorFlow Serving does.
    return json.dumps({"results": listed}, separators=(",", ":")).encode()
