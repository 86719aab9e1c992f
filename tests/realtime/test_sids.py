"""Ids of sessions: secret, and naming their owner to those who share the key."""

import base64

import pytest

from realtime.sids import Sids

KEY = b"k" * 32


def test_an_id_names_its_owner_to_those_who_have_the_key() -> None:
    sids = Sids("n_a-b_c", KEY)
    sid = sids.make()
    assert (sids.owner(sid), Sids("n_other", KEY).owner(sid)) == ("n_a-b_c", "n_a-b_c")
    assert Sids("n_a-b_c", b"x" * 32).owner(sid) is None
    assert sids.make() != sid


@pytest.mark.parametrize("sid", ["", ".", "..", "n_a.b.c", "é.é.é"])
def test_an_id_that_was_made_up_has_no_owner(sid: str) -> None:
    assert Sids("n_a", KEY).owner(sid) is None


def test_without_a_key_ids_are_only_random() -> None:
    sid = Sids("n_a").make()
    assert (len(base64.urlsafe_b64decode(sid)), Sids("n_a").owner(sid)) == (18, None)
