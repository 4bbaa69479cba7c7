"""Which versions lie on disk, and which of them a policy wants."""

from __future__ import annotations

import pytest
from tidemill_serving.engine.status import Code, StatusError
from tidemill_serving.engine.versions import All, Latest, Specific, aspired, scan


def test_folders_of_digits_are_versions_and_nothing_else_is(tmp_path):
    for name in ("1", "00000123", "v2", "3.tmp", "-4", ".5", "9" * 30):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file")

    assert sorted(scan(tmp_path, "m")) == [1, 123]


def test_a_base_path_that_is_missing_is_an_invalid_argument(tmp_path):
    with pytest.raises(StatusError, match=r"Could not find base path .* for servable m") as caught:
        scan(tmp_path / "nowhere", "m")

    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Latest(1), {3}),
        (Latest(2), {2, 3}),
        (All(), {1, 2, 3}),
        (Specific(frozenset({1, 9})), {1}),
    ],
)
def test_a_policy_wants_its_versions(tmp_path, policy, expected):
    for version in (1, 2, 3):
        (tmp_path / str(version)).mkdir()

    assert set(aspired(policy, scan(tmp_path, "m"), "m")) == expected
