"""Settings of the test run: throw-away keys and data, a database that threads can share.

With ``DATABASE_URL`` the tests run on that server instead of SQLite, in a database of their own.
"""

import os
import tempfile

os.environ.setdefault("HUB_DATA_DIR", tempfile.mkdtemp(prefix="hub-tests-"))
os.environ["DEBUG"] = "0"
os.environ["HUB_DEVELOPMENT_KEYS"] = "1"

from hubsite.settings import *  # noqa: F403 - the variables above come first
from hubsite.settings import DATA_DIR, DATABASES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"].setdefault("TEST", {})["NAME"] = str(DATA_DIR / "test.sqlite3")
