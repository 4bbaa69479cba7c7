"""The application: routes and limits around one intake."""

from __future__ import annotations

from flask import Flask
from tidemill_chassis import web
from tidemill_contracts.bus import Bus
from tidemill_contracts.events import SAMPLES_PER_MESSAGE_MAX
from tidemill_contracts.model_spec import load_specs

from tidemill_ingest import lingering
from tidemill_ingest.budget import Budget
from tidemill_ingest.catalog import Catalog
from tidemill_ingest.handlers import Intake
from tidemill_ingest.images import PIXELS_MAX
from tidemill_ingest.keys import lock, read_keys
from tidemill_ingest.preparing import Preparer
from tidemill_ingest.routes import LARGE_BODY_BYTES, make_routes
from tidemill_ingest.settings import Settings
from tidemill_ingest.uploads import UploadLimits

LARGE_BODIES_MAX = 2
"""So many bodies of the largest size are in hand at once; parsed and decoded, each takes a multiple of it."""
FORM_FIELDS_MAX = 16
UNPACKED_PER_BODY = 2
"""An archive may unpack to so many bodies of the largest size: pictures are packed already."""


def make_intake(settings: Settings, bus: Bus) -> Intake:
    """The intake of this process, for all its doors: they share one budget of pixels.

    Raises:
        InvalidInput: the folder of models is missing, empty or wrong.
    """
    catalog = Catalog(load_specs(settings.models).values())
    preparer = Preparer(settings.images, Budget("pixels to decode", PIXELS_MAX))
    return Intake(bus, catalog, preparer, settings.samples_per_message)


def create_app(settings: Settings, bus: Bus, intake: Intake) -> Flask:
    """Ingest as a WSGI application.

    Raises:
        SettingsError: the file of keys is wrong.
    """
    app = web.create_app("ingest", body_bytes_max=settings.body_bytes_max, ready=bus.ping)
    if settings.keys is not None:
        lock(app, read_keys(settings.keys))
    app.config["MAX_FORM_PARTS"] = SAMPLES_PER_MESSAGE_MAX + FORM_FIELDS_MAX
    lingering.install(app, unread_bytes_min=LARGE_BODY_BYTES)
    bodies = Budget("large requests", LARGE_BODIES_MAX * settings.body_bytes_max)
    limits = UploadLimits(settings.images.size_bytes_max, UNPACKED_PER_BODY * settings.body_bytes_max)
    app.register_blueprint(make_routes(intake, bodies, settings.body_bytes_max, limits))
    return app
