"""Sharing traffic between stable and candidate, and comparing them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
from tidemill_contracts import label_changes
from tidemill_contracts.layout import manifest_name
from tidemill_contracts.manifest import Labels
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.rollout import Rollout
from tidemill_gateway.audit import Audit
from tidemill_gateway.plane.calls import Rows
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.rollout import sticky_point
from tidemill_gateway.plane.shadow import IN_FLIGHT_MAX, Shadows, compare
from tidemill_gateway.plane.signatures import Signature, SignatureCache, TensorSpec, VersionInfo
from tidemill_gateway.plane.tensors import Column
from tidemill_gateway.plane.versions import ModelView, Target, VersionState, resolve
from tidemill_gateway.wire import tensor_pb2 as pb
from tidemill_gateway.wire.model_pb2 import ModelVersionStatus, SignatureDefMap

LOADED = VersionState(ModelVersionStatus.AVAILABLE)
SIGNATURE = Signature(
    "serving_default",
    "",
    (TensorSpec("x", pb.DT_FLOAT, (None, 1)),),
    (TensorSpec("y", pb.DT_FLOAT, (None, 2)),),
)
ROW = Rows((Column(pb.DT_FLOAT, (1,), np.array([5.0], np.float32).tobytes()),), 1)


def view(*, candidate: int = 2, loaded: tuple[int, ...] = (1, 2), **rollout: float) -> ModelView:
    states = dict.fromkeys(loaded, LOADED)
    return ModelView("digits", states, Labels(stable=1, candidate=candidate), True, 1, Rollout(**rollout))


def test_callers_stick_to_a_version_and_spread_as_told() -> None:
    split = view(candidate_percent=20.0)

    first = [resolve(split, Target("digits", sticky=f"user-{n}")).version for n in range(5000)]
    again = [resolve(split, Target("digits", sticky=f"user-{n}")).version for n in range(5000)]

    assert first == again
    assert 0.17 < first.count(2) / 5000 < 0.23


def test_who_met_the_candidate_meets_it_still_when_its_share_grows() -> None:
    small, large = view(candidate_percent=10.0), view(candidate_percent=30.0)
    targets = [Target("digits", sticky=f"user-{n}") for n in range(2000)]

    before = {target.sticky for target in targets if resolve(small, target).version == 2}
    after = {target.sticky for target in targets if resolve(large, target).version == 2}

    assert before < after


def test_the_share_of_one_model_says_nothing_of_another() -> None:
    apart = [abs(sticky_point("digits", f"u{n}") - sticky_point("letters", f"u{n}")) for n in range(500)]

    assert np.mean(apart) > 20


def test_callers_who_do_not_stick_are_drawn() -> None:
    split = view(candidate_percent=50.0)

    assert resolve(split, Target("digits"), draw=lambda: 0.49).label == "candidate"
    assert resolve(split, Target("digits"), draw=lambda: 0.51).label == "stable"


@pytest.mark.parametrize("target", [Target("digits", label="stable"), Target("digits", version=1)])
def test_who_names_a_version_or_label_gets_it(target: Target) -> None:
    assert resolve(view(candidate_percent=100.0), target).version == 1


def test_a_candidate_that_is_not_loaded_gets_nothing() -> None:
    assert resolve(view(loaded=(1,), candidate_percent=100.0), Target("digits")).version == 1


@pytest.mark.parametrize(
    ("theirs", "compared"),
    [
        ([[0.1, 0.9]], (0.0, True)),
        ([[0.2, 0.8]], (0.1, True)),
        ([[0.6, 0.4]], (0.5, False)),
        ([[0.1, 0.9], [0.1, 0.9]], None),
    ],
)
def test_outputs_are_compared_by_number_and_by_choice(
    theirs: list[list[float]], compared: tuple[float, bool] | None
) -> None:
    found = compare({"y": np.array([[0.1, 0.9]])}, {"y": np.array(theirs)})

    assert (found is None) == (compared is None)
    if found is not None and compared is not None:
        assert found[0] == pytest.approx(compared[0])
        assert found[1] == compared[1]


@dataclass
class Seen:
    """What shadows told."""

    compared: list[tuple[int, int, float, bool]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def shadow_compared(
        self, model: str, version: int, candidate: int, difference: float, agrees: bool
    ) -> None:
        self.compared.append((version, candidate, difference, agrees))

    def shadow_failed(self, model: str, candidate: int, reason: str) -> None:
        self.failed.append(reason)


async def describe(model: str, version: int) -> VersionInfo:
    return VersionInfo({"serving_default": SIGNATURE}, SignatureDefMap())


ANSWER = Answer({"y": np.array([[1.0, 5.0]], np.float32)}, "digits", 1, 1, 0.0, 0.0)


def test_a_shadow_compares_without_anyone_waiting(make_bench, run) -> None:
    async def scenario() -> None:
        bench, seen = make_bench(), Seen()
        shadows = Shadows(bench.batcher, SignatureCache(describe), seen)

        shadows.consider(view(shadow_percent=100.0), SIGNATURE, ROW, ANSWER)
        await shadows.drain()

        assert seen.compared == [(1, 2, 1.0, True)]

    run(scenario())


def test_a_failing_candidate_is_counted_and_never_felt(make_bench, run) -> None:
    async def scenario() -> None:
        bench, seen = make_bench(), Seen()
        bench.model.gone = {2}
        shadows = Shadows(bench.batcher, SignatureCache(describe), seen)

        shadows.consider(view(shadow_percent=100.0), SIGNATURE, ROW, ANSWER)
        await shadows.drain()

        assert seen.failed == ["VersionGone"]

    run(scenario())


def test_shadows_are_dropped_beyond_their_bound(make_bench, run) -> None:
    async def scenario() -> None:
        bench, seen = make_bench(), Seen()
        bench.model.held.clear()
        shadows = Shadows(bench.batcher, SignatureCache(describe), seen)

        for _ in range(IN_FLIGHT_MAX * 2):
            shadows.consider(view(shadow_percent=100.0), SIGNATURE, ROW, ANSWER)
        await asyncio.sleep(0.01)
        bench.model.held.set()
        await shadows.drain()

        assert len(seen.compared) == IN_FLIGHT_MAX

    run(scenario())


def test_changes_by_a_tool_and_by_a_route_stand_in_one_record() -> None:
    store = MemoryStore()
    store.put(manifest_name("digits", 2), b"{}")
    label_changes.promote(store, "digits", 2, by="an operator", reason="better on our own digits")

    promotion = Audit(store).promotion("digits", 2)

    assert promotion is not None
    assert (promotion.by, promotion.reason) == ("an operator", "better on our own digits")
