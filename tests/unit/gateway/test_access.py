"""Keys: who may ask, who may operate, who is nobody."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tidemill_chassis.settings import SettingsError
from tidemill_gateway.access import OPERATE, PREDICT, Access, Key, read_keys
from tidemill_gateway.errors import Forbidden, Unauthenticated


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def access() -> Access:
    pairs = (("reader", PREDICT, "k1"), ("chief", OPERATE, "k2"))
    return Access(tuple(Key(name, role, bytes.fromhex(digest(key))) for name, role, key in pairs))


@pytest.mark.parametrize(("authorization", "api_key"), [("Bearer k1", ""), ("bearer  k1", ""), ("", "k1")])
def test_a_known_key_is_named(access: Access, authorization: str, api_key: str) -> None:
    assert access.check(authorization, api_key, PREDICT) == "reader"


@pytest.mark.parametrize(
    ("authorization", "api_key"),
    [("", ""), ("Bearer", ""), ("Bearer k3", ""), ("Basic k1", ""), ("", "k"), ("", "\udcff")],
)
def test_an_unknown_key_is_nobody(access: Access, authorization: str, api_key: str) -> None:
    with pytest.raises(Unauthenticated):
        access.check(authorization, api_key, PREDICT)


def test_only_operators_operate(access: Access) -> None:
    assert access.check("Bearer k2", "", OPERATE) == "chief"
    with pytest.raises(Forbidden, match="reader"):
        access.check("Bearer k1", "", OPERATE)


def test_a_file_of_keys_is_read(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# who may\n\nreader predict {digest('k1')}\n")

    assert Access(read_keys(file)).check("Bearer k1", "", PREDICT) == "reader"


@pytest.mark.parametrize("text", ["", "reader predict k1", f"reader king {'0' * 64}", "\x00"])
def test_a_wrong_file_of_keys_is_told_at_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)

    with pytest.raises(SettingsError, match="TIDEMILL_GATEWAY_KEYS"):
        read_keys(file)


def test_a_missing_file_of_keys_is_told_at_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_keys(tmp_path / "none")
