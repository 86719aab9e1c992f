"""The console, errors by kind of address, and the headers of every page."""

import pytest
from django.test import Client


def test_the_console_loads_only_our_own_scripts() -> None:
    answer = Client().get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert b"realtime/console.js" in answer.content


def test_the_console_is_only_read() -> None:
    assert Client().post("/").status_code == 405


@pytest.mark.parametrize("path", ["/api/nothing/", "/api/builds/x/nothing/"])
def test_an_unknown_api_address_answers_json(path: str) -> None:
    answer = Client().get(path)
    assert answer.status_code == 404
    assert answer.json() == {"code": "not_found", "message": "There is nothing at this address."}


def test_an_unknown_page_answers_html() -> None:
    answer = Client().get("/nothing")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
