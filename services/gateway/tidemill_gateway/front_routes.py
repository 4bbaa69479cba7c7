"""The page at ``/`` and the description of the API."""

from __future__ import annotations

from importlib.resources import files

import yaml
from flask import Flask, Response, jsonify

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"


def add_front_routes(app: Flask) -> None:
    """Put the routes on the application; both files are read once."""
    package = files("tidemill_gateway")
    page = package.joinpath("page.html").read_text()
    document = yaml.safe_load(package.joinpath("openapi.yaml").read_text())

    @app.get("/")
    def draw() -> Response:
        return Response(
            page, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": POLICY}
        )

    @app.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document)
