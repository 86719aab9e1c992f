"""The page between choosing an action and doing it: what will happen, to whom, yes or no."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest
from django.template.response import TemplateResponse

__all__ = ["Choice", "confirmed"]

SHOWN = 30

Choice = tuple[str, str]
"""The value of a button, and what stands on it."""

YES: Choice = ("yes", "Yes, do it")


def confirmed(
    page: "admin.ModelAdmin[Any]",
    request: HttpRequest,
    *,
    title: str,
    says: str,
    effects: Sequence[str],
    choices: Sequence[Choice] = (YES,),
) -> str | TemplateResponse:
    """The value of the button that was pressed, or the page that asks.

    ``effects`` has a line for each thing that will happen; with none there is nothing to confirm.
    The caller must check what it gets: a TemplateResponse is to be returned as it is.
    """
    chosen = request.POST.get("confirmed", "")
    if chosen in {value for value, _ in choices}:
        return chosen
    context = {
        **page.admin_site.each_context(request),
        "title": title,
        "says": says,
        "effects": effects[:SHOWN],
        "more": max(0, len(effects) - SHOWN),
        "choices": choices,
        "opts": page.model._meta,  # noqa: SLF001 - Django's public _meta
        "media": page.media,
        "action": request.POST.get("action", ""),
        "across": request.POST.get("select_across", "0"),
        "checkbox": ACTION_CHECKBOX_NAME,
        "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
    }
    return TemplateResponse(request, "security/admin/confirm.html", context)
