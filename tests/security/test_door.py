"""The place for used nonces."""

from collections.abc import Iterator
from typing import Any

import pytest

from security import door


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    door.use_nonces(None)
    yield
    door.use_nonces(None)


def test_asking_before_a_store_is_installed_says_what_to_do() -> None:
    with pytest.raises(door.NoNonceStore) as caught:
        door.nonces()
    assert "use_nonces" in str(caught.value)


def test_the_installed_store_is_handed_out() -> None:
    store: Any = object()
    door.use_nonces(store)
    assert door.nonces() is store
