"""Keys: which rings are taken, and how development keys are made."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from security.keys import BadKey, Key, load_keys
from security.signatures import to_base64url

FIRST, SECOND, THIRD = (bytes(range(start, start + 32)) for start in (0, 100, 200))
SECRET_KEY = "0123456789abcdefghijklmnopqrstuvwxyz"


def ring(*keys: tuple[str, bytes]) -> str:
    return ",".join(f"{kid}:{to_base64url(secret)}" for kid, secret in keys)


def environ(**changes: str) -> dict[str, str]:
    good = {
        "DJANGO_SECRET_KEY": SECRET_KEY,
        "HUB_MASTER_KEYS": ring(("m1", FIRST)),
        "HUB_JWT_KEYS": ring(("j1", SECOND)),
    }
    return {**good, **changes}


def load(values: dict[str, str], *, development: bool = False) -> object:
    return load_keys(values, Path("/nonexistent"), development=development)


def test_the_first_key_of_a_ring_signs_and_all_verify() -> None:
    values = environ(HUB_MASTER_KEYS=ring(("new", THIRD), ("old", FIRST)))
    keys = load_keys(values, Path("/nonexistent"), development=False)
    assert keys.master.signing == Key("new", THIRD)
    assert keys.master.get("old") == Key("old", FIRST)
    assert keys.master.get("nobody") is None
    assert [key.kid for key in keys.master] == ["new", "old"]
    assert len(keys.master) == 2


@pytest.mark.parametrize("missing", ["DJANGO_SECRET_KEY", "HUB_MASTER_KEYS", "HUB_JWT_KEYS"])
@pytest.mark.parametrize("development", [False, True])
def test_a_half_configured_process_refuses_to_start(missing: str, development: bool) -> None:
    with pytest.raises(BadKey) as caught:
        load(environ(**{missing: ""}), development=development)
    assert caught.value.variable == missing


@pytest.mark.parametrize(
    "text",
    [
        "nokid",
        ":" + to_base64url(FIRST),
        "a b:" + to_base64url(FIRST),
        "k\n:" + to_base64url(FIRST),
        "k:" + to_base64url(FIRST[:31]),
        "k:" + to_base64url(FIRST + b"x"),
        "k:not base64url!",
        "k:" + to_base64url(bytes(32)),
        "k:" + to_base64url(b"change-me-change-me-change-me-32"),
        "k:" + to_base64url(FIRST) + ",k:" + to_base64url(THIRD),
        "k:" + to_base64url(FIRST) + ",",
    ],
)
def test_a_ring_that_is_short_malformed_or_a_template_is_refused(text: str) -> None:
    with pytest.raises(BadKey, match="HUB_MASTER_KEYS"):
        load(environ(HUB_MASTER_KEYS=text))


@pytest.mark.parametrize("text", ["short", "x" * 64])
def test_a_short_or_template_secret_key_is_refused(text: str) -> None:
    with pytest.raises(BadKey, match="DJANGO_SECRET_KEY"):
        load(environ(DJANGO_SECRET_KEY=text))


def test_one_key_for_two_purposes_is_refused() -> None:
    with pytest.raises(BadKey, match="another purpose"):
        load(environ(HUB_JWT_KEYS=ring(("j", FIRST))))
    with pytest.raises(BadKey, match="another purpose"):
        load(environ(HUB_MASTER_KEYS=ring(("a", FIRST), ("b", FIRST))))


def test_no_representation_and_no_refusal_shows_a_key() -> None:
    keys = load_keys(environ(), Path("/nonexistent"), development=False)
    assert SECRET_KEY not in repr(keys)
    assert repr(keys.master.signing) == "Key('m1', <secret>)"
    with pytest.raises(BadKey) as caught:
        load(environ(HUB_MASTER_KEYS="k:" + to_base64url(FIRST[:31])))
    assert to_base64url(FIRST[:31]) not in str(caught.value)


def test_development_keys_are_made_once_for_this_user_only(tmp_path: Path) -> None:
    first = load_keys({}, tmp_path, development=True)
    second = load_keys({}, tmp_path, development=True)
    assert first.master.signing == second.master.signing
    file = tmp_path / "development_keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    assert len(set(json.loads(file.read_text()).values())) == 3


def test_processes_that_start_together_agree_on_the_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        all_keys = list(
            pool.map(lambda _number: load_keys({}, tmp_path, development=True), range(8))
        )
    assert len({keys.jwt.signing for keys in all_keys}) == 1


def test_without_development_no_keys_are_made(tmp_path: Path) -> None:
    with pytest.raises(BadKey):
        load_keys({}, tmp_path, development=False)
    assert list(tmp_path.iterdir()) == []
