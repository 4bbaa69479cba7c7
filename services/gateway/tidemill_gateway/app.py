"""The gateway as one site: the hot route on the event loop, everything else through Flask in threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from tidemill_contracts.bus import Bus
from tidemill_contracts.errors import TidemillError, Unavailable
from tidemill_contracts.objects import ObjectStore

from tidemill_gateway.access import OPERATE, PREDICT, Access
from tidemill_gateway.answer_cache import AnswerCache
from tidemill_gateway.content_digests import ContentDigests
from tidemill_gateway.dialects import tfserving
from tidemill_gateway.dialects.rest import RestDialect
from tidemill_gateway.flask_site import make_flask
from tidemill_gateway.grpc_front import GrpcFront
from tidemill_gateway.grpc_routes import GrpcRoutes
from tidemill_gateway.handlers import Plane
from tidemill_gateway.metrics import BatchMetrics, ShadowMetrics, refused
from tidemill_gateway.model_facts import ModelFacts
from tidemill_gateway.plane.admission import Admission
from tidemill_gateway.plane.batching import Batcher
from tidemill_gateway.plane.serving_client import ServingClient
from tidemill_gateway.plane.shadow import Shadows
from tidemill_gateway.plane.signatures import SignatureCache
from tidemill_gateway.plane.version_book import VersionBook
from tidemill_gateway.prediction_log import PredictionLog
from tidemill_gateway.rate_limits import RateLimits
from tidemill_gateway.request_traces import RequestTraces
from tidemill_gateway.rest_route import RestRoute, retry_after
from tidemill_gateway.server.compression import Unreadable, deflate, inflate
from tidemill_gateway.server.messages import Request, Response
from tidemill_gateway.server.refusals import count_refusal
from tidemill_gateway.server.wsgi_bridge import WsgiBridge
from tidemill_gateway.settings import Settings

DIALECTS: tuple[RestDialect, ...] = (tfserving.DIALECT,)
"""Every way to ask for a prediction over HTTP."""
FLASK_THREADS = 4
PLANE_THREADS = 4
GRPC_GRACE_S = 5.0
OPEN_PATHS = frozenset({b"/healthz", b"/readyz", b"/metrics", b"/", b"/openapi.json"})
"""What needs no key: probes and scrapers have none, and the page asks for it."""


class Gateway:
    """One per process; made in the worker, started in its event loop."""

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        bus: Bus | None,
        access: Access,
        rates: RateLimits | None = None,
        traces: RequestTraces | None = None,
    ) -> None:
        self.limits = settings.http
        self.notice_s = settings.notice_s
        self._settings = settings
        self._store = store
        self._access = access
        self._rates = rates
        self._traces = traces
        self._log = (
            PredictionLog(bus, percent=settings.log_percent, bytes_max=settings.log_bytes_max)
            if bus is not None
            else None
        )
        self._stopping = False
        self._executor = ThreadPoolExecutor(PLANE_THREADS, thread_name_prefix="plane")

    async def start(self) -> None:
        """Connect, look at the models once, and keep looking."""
        loop = asyncio.get_running_loop()
        settings = self._settings
        self._client = ServingClient(settings.serving)
        signatures = SignatureCache(self._client.version_info)
        self._book = VersionBook(self._client.statuses, self._store, signatures, self._executor)
        admission = Admission(settings.admission)
        metrics = BatchMetrics(admission)
        batcher = Batcher(self._client, admission, settings.batch, metrics, self._traces)
        self._batcher = batcher
        self._shadows = Shadows(batcher, signatures, ShadowMetrics())
        facts = ModelFacts(self._store)
        self._answers: AnswerCache | None = None
        if settings.answers.seconds:
            digests = ContentDigests(facts, self._executor)
            self._answers = AnswerCache(settings.cache, settings.answers, digests.get)
        plane = Plane(
            self._book,
            signatures,
            batcher,
            self._shadows,
            self._executor,
            settings.batch.rows_max,
            self._answers,
        )
        self._routes = [
            RestRoute(
                dialect,
                plane,
                request_s_max=settings.request_s_max,
                prediction_log=self._log,
                traces=self._traces,
            )
            for dialect in DIALECTS
        ]
        flask = make_flask(
            self._book,
            signatures,
            facts,
            self._store,
            body_bytes_max=self.limits.body_bytes_max,
            ready=self.ready,
        )
        self._bridge = WsgiBridge(flask, threads=FLASK_THREADS)
        self._grpc: GrpcFront | None = None
        if settings.grpc_bind is not None:
            answers = GrpcRoutes(
                plane,
                self._client,
                self._access,
                self._rates,
                self._traces,
                self._log,
                request_s_max=settings.request_s_max,
            )
            self._grpc = GrpcFront(answers, message_bytes_max=settings.http.body_bytes_max)
            await self._grpc.start(settings.grpc_bind, settings.tls)
        self._refresher = loop.create_task(self._book.run())

    async def handle(self, request: Request) -> Response:
        """Answer one request, if its key allows it."""
        if not self._access.is_open and request.target not in OPEN_PATHS:
            no = await self._admit(request)
            if no is not None:
                return no
        try:
            await inflate(request, bytes_max=self.limits.body_bytes_max, executor=self._executor)
        except Unreadable as error:
            count_refusal(error.response.status)
            return error.response
        response = await self._answer(request)
        return await deflate(request, response, executor=self._executor)

    async def _answer(self, request: Request) -> Response:
        if request.method == b"POST":
            for route in self._routes:
                match = route.path.fullmatch(request.target)
                if match is not None:
                    return await route(request, match)
        return await self._bridge(request)

    def _asks_to_change(self, request: Request) -> bool:
        if request.method in (b"GET", b"HEAD", b"OPTIONS"):
            return False
        return not any(route.path.fullmatch(request.target) for route in self._routes)

    async def _admit(self, request: Request) -> Response | None:
        """Put the caller's name on the request; a refusal if it may not ask that."""
        try:
            request.caller = self._access.check(
                request.header(b"authorization").decode("latin-1"),
                request.header(b"x-api-key").decode("latin-1"),
                OPERATE if self._asks_to_change(request) else PREDICT,
            )
            if self._rates is not None:
                await self._rates.take(request.caller)
        except TidemillError as error:
            refused(error, "http")
            status, body = tfserving.DIALECT.render_error(error)
            headers = ((b"WWW-Authenticate", b"Bearer"),) if status == 401 else retry_after(error)
            return Response(status, body, headers=headers)
        return None

    def stopping(self) -> None:
        """From now on /readyz says no; everything else is answered as before."""
        self._stopping = True

    async def stop(self) -> None:
        """Let go of everything; requests have ended."""
        if self._grpc is not None:
            await self._grpc.stop(GRPC_GRACE_S)
        self._refresher.cancel()
        await self._shadows.drain()
        await self._batcher.drain()
        await self._client.close()
        self._bridge.close()
        if self._log is not None:
            self._log.close()
        if self._rates is not None:
            await self._rates.close()
        if self._answers is not None:
            await self._answers.close()
        if self._traces is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._traces.close)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def ready(self) -> None:
        """Return if predictions can be answered.

        Raises:
            Unavailable: they cannot; the text says why.
        """
        if self._stopping:
            raise Unavailable("the gateway is stopping")
        if self._book.serving_error is not None:
            raise Unavailable(f"serving does not answer: {self._book.serving_error}")
        if not any(view.stable is not None for view in self._book.views.values()):
            raise Unavailable("no model has a version that is loaded")
