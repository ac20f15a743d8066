"""Serve the provider over HTTP on loopback, one thread a connection.

    python -m tests.acceptance.django_provider.serve

The environment names its database (PROVIDER_DATABASE_URL, an empty one), the life of its access tokens
(PROVIDER_LIFETIME_SECONDS), and its first client (PROVIDER_CLIENT_SECRET; its id is `app`). Prints its URL once ready.
"""

import os

import django  # type: ignore[import-untyped]


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.acceptance.django_provider.settings"
    django.setup()
    _prepare()
    _serve()


def _prepare() -> None:
    from django.core.management import call_command  # type: ignore[import-untyped]

    from tests.acceptance.django_provider.views import register

    call_command("migrate", verbosity=0)
    register("app", os.environ["PROVIDER_CLIENT_SECRET"])


def _serve() -> None:
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler  # type: ignore[import-untyped]
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]

    class Server(ThreadedWSGIServer):  # type: ignore[misc]
        request_queue_size = 512

    server = Server(("127.0.0.1", 0), WSGIRequestHandler)
    server.set_app(get_wsgi_application())
    print(f"django-oauth-toolkit at http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    main()
