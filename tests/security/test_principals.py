"""Principals: their names and ids."""

import dataclasses

import pytest

from security.principals import Principal

ADA = Principal(
    kind="user", subject="42", username="ada", role="user", session_id="s", kid="k", version=1,
    expires_at=0,
)  # fmt: skip
ENGINE = dataclasses.replace(
    ADA, kind="engine", subject="engine-1", username="engine-1", role="engine", session_id=""
)


def test_the_label_is_the_principal_of_signatures() -> None:
    assert (ADA.label, ENGINE.label) == ("user:42", "engine:engine-1")


def test_only_people_have_a_user_id() -> None:
    assert (ADA.user_id, ENGINE.user_id) == (42, None)


def test_only_the_staff_role_is_staff() -> None:
    assert dataclasses.replace(ADA, role="staff").is_staff
    assert not ADA.is_staff


def test_a_principal_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ADA.role = "staff"  # type: ignore[misc]
