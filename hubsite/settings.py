"""Settings of the whole site, made from the environment; the limits live in security.conf."""

import os
from pathlib import Path
from typing import Any

import environ

from realtime.layerhost import layer_host
from security.conf import HubSettings
from security.keys import load_keys

env = environ.Env()
CHECKOUT = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.str("HUB_DATA_DIR", str(CHECKOUT / "var"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = env.bool("DEBUG", False)
HUB = HubSettings.from_environ(os.environ)
KEYS = load_keys(os.environ, DATA_DIR, development=DEBUG or env.bool("HUB_DEVELOPMENT_KEYS", False))
SECRET_KEY = KEYS.django
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
if DEBUG and "ALLOWED_HOSTS" not in os.environ:
    ALLOWED_HOSTS += ["testserver"]

INSTALLED_APPS = [
    "daphne",
    "hubsite",  # before the admin, whose frame it adds a banner to
    "hubsite.adminconfig.HubAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "security",
    "realtime",
    "engine",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "hubsite.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "hubsite.urls"
ASGI_APPLICATION = "hubsite.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "hubsite.standing.standing",
            ]
        },
    }
]

AUTH_USER_MODEL = "security.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# SQLite's defaults fail under concurrent writers: a read that becomes a write cannot wait for the
# lock. IMMEDIATE takes the lock at the start, WAL lets readers go on meanwhile.
SQLITE: dict[str, Any] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": str(DATA_DIR / "hub.sqlite3"),
    "CONN_MAX_AGE": None,  # opening the file anew costs four times the query
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
}
# A server that is gone must be missed soon and found again soon: psycopg's pool would wait 30 s for
# a connection, and try with pauses that double for five minutes.
POSTGRES_OPTIONS: dict[str, Any] = {
    "pool": {
        "min_size": 1,
        "max_size": HUB.database_threads + 4,
        "timeout": 5.0,
        "reconnect_timeout": 2.0,
    },
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def database_from(url: str) -> dict[str, Any]:
    """A Django database of DATABASE_URL, with the hub's options for the kind of database it is."""
    parsed: dict[str, Any] = environ.Env.db_url_config(url)
    if parsed["ENGINE"].endswith("sqlite3"):
        return {**SQLITE, "NAME": parsed["NAME"]}
    parsed.setdefault("OPTIONS", {}).update(POSTGRES_OPTIONS)
    return parsed


DATABASES = {"default": database_from(env.str("DATABASE_URL")) if "DATABASE_URL" in env else SQLITE}

REDIS_URL = env.str("REDIS_URL", "")

CHANNEL_LAYERS = {
    "default": {
        # Pub/sub survives a Redis restart without closing a socket; the core layer does not.
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [layer_host(REDIS_URL)]},
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["security.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["security.rest.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["security.rest.StrictJsonParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "security.rest.answer_error",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Interaction Hub",
    "VERSION": "1.0",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_INCLUDE_SCHEMA": False,
}

LANGUAGE_CODE = "en-gb"
FORMAT_MODULE_PATH = ["hubsite.formats"]
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
SERVESTATIC_USE_FINDERS = True  # no collectstatic step: the files come out of the packages
SERVESTATIC_AUTOREFRESH = DEBUG
SERVESTATIC_ALLOW_ALL_ORIGINS = False
MEDIA_ROOT = DATA_DIR / "media"
DATA_UPLOAD_MAX_MEMORY_SIZE = HUB.http_body

# Behind a proxy that ends TLS, Django sees plain HTTP; the allowed origins say what browsers see.
CSRF_TRUSTED_ORIGINS = list(HUB.allowed_origins)
HTTPS = bool(HUB.allowed_origins) and all(
    origin.startswith("https://") for origin in HUB.allowed_origins
)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = HUB.hsts_s if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HUB.hsts_subdomains
SECURE_HSTS_PRELOAD = HUB.hsts_preload
# Only a proxy that is trusted can say that a browser came by TLS; without one every page would be
# redirected to itself. Programs are not redirected: what they sent in clear has been sent.
SECURE_SSL_REDIRECT = HTTPS and HUB.https_redirect and bool(HUB.trusted_proxies)
SECURE_REDIRECT_EXEMPT = ["^(api/|healthz$|readyz$|metrics$)"]
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # names below ours, and lists in browsers: only the domain's owner can promise
    "security.W021",  # that, by HUB_HSTS_SUBDOMAINS and HUB_HSTS_PRELOAD
    "security.W009",  # wants 50 characters; hub.E002 asks for 32 random bytes, which are 43
]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "hubsite.logs.LineFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("HUB_LOG_LEVEL", "INFO")},
}
