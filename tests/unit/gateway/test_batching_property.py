"""Whatever arrives, leaves, fails or expires: each accepted request gets its own answer, once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tidemill_contracts.errors import Malformed, Overloaded, TooLarge
from tidemill_gateway.errors import DeadlineExceeded, VersionGone


@dataclass(frozen=True)
class Step:
    """One caller: `rows` rows for `version`; what happens to it, and how long the world waits then."""

    rows: int
    version: int
    fate: str
    turns: int


STEPS = st.lists(
    st.builds(
        Step,
        rows=st.integers(1, 9),
        version=st.integers(1, 3),
        fate=st.sampled_from(["waits", "waits", "waits", "poisoned", "cancels", "expires"]),
        turns=st.integers(0, 3),
    ),
    max_size=40,
)
WORLD = st.fixed_dictionaries(
    {
        "rows_max": st.integers(1, 12),
        "in_flight_max": st.integers(1, 3),
        "waiting_max": st.integers(5, 400),
        "window_s_max": st.sampled_from([0.0, 0.001, 0.02]),
        "gone": st.sets(st.integers(1, 3), max_size=1),
        "holds_at": st.sets(st.integers(0, 39), max_size=5),
    }
)


LIMITS = ("rows_max", "in_flight_max", "waiting_max", "window_s_max")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, world=WORLD)
def test_each_accepted_request_gets_exactly_its_own_answer(
    make_bench, run, lane_of, poison, steps, world
) -> None:
    run(_scenario(make_bench, lane_of, poison, steps, world))


async def _scenario(
    make_bench: Any, lane_of: Any, poison: float, steps: list[Step], world: dict[str, Any]
) -> None:
    bench = make_bench(**{name: world[name] for name in LIMITS})
    bench.model.gone = world["gone"]
    accepted: list[tuple[Step, list[float], asyncio.Future[Any]]] = []
    for number, step in enumerate(steps):
        if number in world["holds_at"]:
            bench.model.held.clear()
        elif number - 2 in world["holds_at"]:
            bench.model.held.set()
        values = [float(number * 100 + row) for row in range(step.rows)]
        if step.fate == "poisoned":
            values[-1] = poison
        try:
            within_s = 0.0 if step.fate == "expires" else 5.0
            future = bench.submit(*values, key=lane_of(step.version), within_s=within_s)
        except (Overloaded, TooLarge):
            continue
        accepted.append((step, values, future))
        for _ in range(step.turns):
            await asyncio.sleep(0)
        if step.fate == "cancels":
            future.cancel()
    bench.model.held.set()

    done = await asyncio.gather(*(future for _, _, future in accepted), return_exceptions=True)

    for (step, values, _), outcome in zip(accepted, done, strict=True):
        if isinstance(outcome, BaseException):
            allowed: tuple[type[BaseException], ...] = {
                "poisoned": (Malformed,),
                "cancels": (asyncio.CancelledError,),
                "expires": (DeadlineExceeded,),
            }.get(step.fate, ())
            gone = (VersionGone,) if step.version in world["gone"] else ()
            assert isinstance(outcome, (*allowed, *gone)), (step, outcome)
        else:
            assert step.fate in ("waits", "cancels"), step
            assert outcome.version == step.version
            assert outcome.outputs["y"].tolist() == [[float(step.version), value] for value in values]
    await bench.batcher.drain()
    assert bench.model.running_max <= world["in_flight_max"] * 3
    assert (bench.admission.rows, bench.admission.bytes, bench.batcher.lane_count) == (0, 0, 0)
