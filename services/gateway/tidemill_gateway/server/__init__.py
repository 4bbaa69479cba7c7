"""HTTP on an event loop inside gunicorn's worker. It knows nothing of models."""
