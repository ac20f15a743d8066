"""Settings of the Django that django-celery-beat needs."""

import os
from urllib.parse import parse_qs, unquote, urlsplit

_url = urlsplit(os.environ["BENCH_DATABASE_URL"])
_where = {name: unquote(values[0]) for name, values in parse_qs(_url.query).items()}
SECRET_KEY = "bench"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["django_celery_beat"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path.strip("/"),
        "USER": _url.username,
        "HOST": _where["host"],
        "OPTIONS": {"passfile": _where["passfile"]},
    }
}
