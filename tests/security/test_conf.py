"""The limits: defaults, and how the environment changes them."""

import dataclasses

import pytest

from security.conf import BadSetting, HubSettings, hub


def test_an_empty_environment_gives_the_defaults_of_the_design() -> None:
    assert HubSettings.from_environ({}) == HubSettings()
    assert HubSettings().drift_ms == 15_000
    assert HubSettings().service_token_s <= 3_600


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("HUB_DRIFT_MS", "20000", "drift_ms", 20_000),
        ("HUB_MESSAGES_PER_S", "2.5", "messages_per_s", 2.5),
        ("HUB_ALLOW_MISSING_ORIGIN", "no", "allow_missing_origin", False),
        ("HUB_ALLOW_MISSING_ORIGIN", "TRUE", "allow_missing_origin", True),
        ("HUB_AUDIT_ACTIONS", "all", "audit_actions", "all"),
        ("HUB_METRICS_TOKEN", "abc", "metrics_token", "abc"),
        ("HUB_TRUSTED_PROXIES", " 10.0.0.1 ,, ::1", "trusted_proxies", ("10.0.0.1", "::1")),
    ],
)
def test_a_variable_sets_its_limit(variable: str, text: str, field: str, value: object) -> None:
    assert getattr(HubSettings.from_environ({variable: text}), field) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("HUB_DRIFT_MS", "soon"),
        ("HUB_DRIFT_MS", "-1"),
        ("HUB_DRIFT_MS", "1.5"),
        ("HUB_DRIFT_MS", ""),
        ("HUB_MESSAGES_PER_S", "nan"),
        ("HUB_MESSAGES_PER_S", "inf"),
        ("HUB_ALLOW_MISSING_ORIGIN", "maybe"),
        ("HUB_AUDIT_ACTIONS", "some"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(variable: str, text: str) -> None:
    with pytest.raises(BadSetting, match=variable) as caught:
        HubSettings.from_environ({variable: text})
    assert caught.value.variable == variable


def test_other_variables_are_not_read() -> None:
    assert HubSettings.from_environ({"HUB_NO_SUCH_LIMIT": "1", "PATH": "/"}) == HubSettings()


def test_each_limit_says_its_unit_and_meaning() -> None:
    for each in dataclasses.fields(HubSettings):
        assert each.metadata["unit"], each.name
        assert each.metadata["doc"].endswith("."), each.name


def test_the_process_has_one_set_of_settings() -> None:
    assert hub() is hub()
