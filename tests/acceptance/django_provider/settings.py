"""Django's settings of a provider that nobody of us wrote: django-oauth-toolkit, rotating, with reuse protection."""

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

_database = urlsplit(os.environ["PROVIDER_DATABASE_URL"])
_options = dict(parse_qsl(_database.query))
_grace = int(os.environ.get("PROVIDER_GRACE_SECONDS", "0"))

SECRET_KEY = "not-a-secret-it-serves-tests-on-loopback"
DEBUG = False
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.acceptance.django_provider.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"]
MIDDLEWARE = [
    # What its users need who sign in and say yes or no; the session is in their cookie.
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tests.acceptance.django_provider.ledger.LedgerMiddleware",
    "tests.acceptance.django_provider.dialect.DialectMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
LOGIN_URL = "/sign-in/"
STATIC_URL = "/static/"
# Made slow on purpose, the usual ones cost half a second of CPU a user.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,  # the toolkit's own page of consent
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
LOGGING_CONFIG = None

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(_database.path.removeprefix("/")),
        "USER": _database.username,
        "HOST": _options["host"],
        # A pool: each kept connection of a worker is a thread here, and PostgreSQL takes a hundred in all.
        "OPTIONS": {"passfile": _options["passfile"], "pool": {"min_size": 1, "max_size": 8, "timeout": 20}},
    }
}

OAUTH2_PROVIDER = {
    "ACCESS_TOKEN_EXPIRE_SECONDS": int(os.environ["PROVIDER_LIFETIME_SECONDS"]),
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": _grace == 0,
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": _grace,
    "SCOPES": {"read": "Read", "write": "Write"},
    "PKCE_REQUIRED": False,
}
