"""Builds, jobs, engines and feeds in the admin: shown in full, changed by few verbs only.

What staff may do they do by the dispatcher's own decisions, after a page that asks once more, and
each is audited. Effects reach live sockets as `engine.effects` says.
"""

from engine.admin.builds import BuildAdmin
from engine.admin.engines import EngineSessionAdmin
from engine.admin.feed import FeedEventAdmin
from engine.admin.jobs import JobAdmin

__all__ = ["BuildAdmin", "EngineSessionAdmin", "FeedEventAdmin", "JobAdmin"]
