"""Security in the admin: it shows much, permits little and decides nothing.

People can be edited, login sessions ended, services switched, principals blocked for an hour;
records can only be read. Every staff action asks first and is audited, and the log-in page is
limited like the API's.
"""

from django.contrib import admin

from security.admin.bases import AuditedAdmin, ReadOnlyAdmin, RecordAdmin, audit_staff
from security.admin.confirmation import confirmed
from security.admin.login import StaffLoginForm
from security.admin.people import (
    BlockAdmin,
    PersonAdmin,
    RoomGrantAdmin,
    ServiceAccountAdmin,
    SessionAdmin,
)
from security.admin.records import AuditEntryAdmin, DrillRunAdmin, ViolationAdmin

__all__ = [
    "AuditEntryAdmin",
    "AuditedAdmin",
    "BlockAdmin",
    "DrillRunAdmin",
    "PersonAdmin",
    "ReadOnlyAdmin",
    "RecordAdmin",
    "RoomGrantAdmin",
    "ServiceAccountAdmin",
    "SessionAdmin",
    "StaffLoginForm",
    "ViolationAdmin",
    "audit_staff",
    "confirmed",
]

admin.site.site_header = "Interaction Hub"
admin.site.site_title = "Interaction Hub"
admin.site.index_title = "Administration"
admin.site.login_form = StaffLoginForm
