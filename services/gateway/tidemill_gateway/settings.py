"""The gateway's settings, all from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tidemill_chassis.settings import Address, Environment, SettingsError

from tidemill_gateway.answer_cache import CacheLimits
from tidemill_gateway.plane.admission import AdmissionLimits
from tidemill_gateway.plane.batching import BatchLimits
from tidemill_gateway.server.limits import HttpLimits


@dataclass(frozen=True)
class Tls:
    """Files in PEM: the certificate with its chain, and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Settings:
    """grpc_bind: None for no gRPC.

    tls: None for none; otherwise HTTP and gRPC are encrypted.
    keys: a file of keys; None: everybody may do everything.
    cache: the Redis where keys with a rate are counted and answers kept; empty for none.
    traces: where OpenTelemetry's collector is (OTLP over HTTP); empty for no traces.
    traces_percent: the share of requests that is traced where the caller did not decide it.
    answers: what the prediction cache may keep, and how long.
    log_percent: the share of predictions that is published to topic `predictions`; bus: where, if any is.
    request_s_max: how long a request without a deadline of its own may take.

    notice_s: after SIGTERM, how long everything is still answered as before.
    """

    bind: Address
    grpc_bind: Address | None
    serving: str
    store: str
    log_level: str
    http: HttpLimits
    batch: BatchLimits
    admission: AdmissionLimits
    tls: Tls | None
    keys: Path | None
    cache: str
    answers: CacheLimits
    traces: str
    traces_percent: float
    bus: str
    log_percent: float
    log_bytes_max: int
    request_s_max: float
    notice_s: float

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """The settings of an environment.

        Raises:
            SettingsError: a variable is missing or wrong; the text names it, with a valid example.
        """
        env = Environment(environ)
        http, batch, admission = HttpLimits(), BatchLimits(), AdmissionLimits()
        log_percent = env.seconds("TIDEMILL_GATEWAY_LOG_PERCENT", 0.0, maximum=100.0)
        answers = CacheLimits()
        answers_s = env.seconds("TIDEMILL_GATEWAY_CACHE_S", 0.0, maximum=86400.0)
        return cls(
            bind=env.address("TIDEMILL_GATEWAY_BIND", "127.0.0.1:8501"),
            grpc_bind=_optional_address(env, "TIDEMILL_GATEWAY_GRPC_BIND"),
            serving=env.text("TIDEMILL_SERVING", example="127.0.0.1:8500"),
            store=env.text("TIDEMILL_STORE", example="file:///var/lib/tidemill/store"),
            log_level=env.text("TIDEMILL_LOG_LEVEL", "info"),
            http=HttpLimits(
                body_bytes_max=env.size_bytes("TIDEMILL_GATEWAY_BODY_BYTES_MAX", http.body_bytes_max),
                connections_max=env.integer(
                    "TIDEMILL_GATEWAY_CONNECTIONS_MAX", http.connections_max, minimum=1
                ),
                header_s=env.seconds("TIDEMILL_GATEWAY_HEADER_S", http.header_s, minimum=0.1),
                body_s=env.seconds("TIDEMILL_GATEWAY_BODY_S", http.body_s, minimum=0.1),
                idle_s=env.seconds("TIDEMILL_GATEWAY_IDLE_S", http.idle_s, minimum=0.1),
            ),
            batch=BatchLimits(
                rows_max=env.integer("TIDEMILL_GATEWAY_BATCH_ROWS_MAX", batch.rows_max, minimum=1),
                in_flight_max=env.integer("TIDEMILL_GATEWAY_BATCHES_MAX", batch.in_flight_max, minimum=1),
                window_s_max=env.seconds("TIDEMILL_GATEWAY_WINDOW_S", batch.window_s_max, maximum=1.0),
            ),
            admission=AdmissionLimits(
                rows_max=env.integer("TIDEMILL_GATEWAY_ROWS_MAX", admission.rows_max, minimum=1),
                bytes_max=env.size_bytes("TIDEMILL_GATEWAY_BYTES_MAX", admission.bytes_max),
            ),
            tls=_tls(env),
            keys=env.path("TIDEMILL_GATEWAY_KEYS", "") if env.text("TIDEMILL_GATEWAY_KEYS", "") else None,
            cache=env.text("TIDEMILL_CACHE", None if answers_s else "", example="redis://127.0.0.1:6379/0"),
            answers=CacheLimits(
                seconds=answers_s,
                answer_bytes_max=env.size_bytes(
                    "TIDEMILL_GATEWAY_CACHE_ANSWER_BYTES_MAX", answers.answer_bytes_max
                ),
                bytes_max=env.size_bytes("TIDEMILL_GATEWAY_CACHE_BYTES_MAX", answers.bytes_max),
            ),
            traces=_traces(env),
            traces_percent=env.seconds("TIDEMILL_GATEWAY_TRACES_PERCENT", 100.0, maximum=100.0),
            bus=env.text("TIDEMILL_BUS", None if log_percent else "", example="redis://127.0.0.1:6379/0"),
            log_percent=log_percent,
            log_bytes_max=env.size_bytes("TIDEMILL_GATEWAY_LOG_BYTES_MAX", 64 * 1024),
            request_s_max=env.seconds("TIDEMILL_GATEWAY_REQUEST_S", 30.0, minimum=0.01),
            notice_s=env.seconds("TIDEMILL_GATEWAY_NOTICE_S", 0.5, maximum=60.0),
        )


def _optional_address(env: Environment, name: str) -> Address | None:
    return env.address(name, "127.0.0.1:8502") if env.text(name, "") else None


def _traces(env: Environment) -> str:
    address = env.text("TIDEMILL_GATEWAY_TRACES", "")
    if address and not address.startswith(("http://", "https://")):
        raise SettingsError("TIDEMILL_GATEWAY_TRACES must be such as http://127.0.0.1:4318")
    if address and not _has_opentelemetry():
        raise SettingsError(
            "TIDEMILL_GATEWAY_TRACES is set, and OpenTelemetry is not installed: "
            "pip install 'tidemill-gateway[otel]'"
        )
    return address


def _has_opentelemetry() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # not even the packages above it
        return False


def _tls(env: Environment) -> Tls | None:
    names = ("TIDEMILL_GATEWAY_TLS_CERTIFICATE", "TIDEMILL_GATEWAY_TLS_KEY")
    if not any(env.text(name, "") for name in names):
        return None
    files = [Path(env.text(name, example="/etc/tidemill/tls.pem")) for name in names]
    for name, file in zip(names, files, strict=True):
        if not file.is_file():
            raise SettingsError(f"{name}: there is no file {file}", field=name)
    return Tls(*files)
