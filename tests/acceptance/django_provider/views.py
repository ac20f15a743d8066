"""The API that an access token opens, and the door by which tests mint grants and look into the tables."""

import json
import secrets
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User  # type: ignore[import-untyped]
from django.db import transaction  # type: ignore[import-untyped]
from django.http import HttpResponse, JsonResponse  # type: ignore[import-untyped]
from django.utils import timezone  # type: ignore[import-untyped]
from django.views.decorators.csrf import csrf_exempt  # type: ignore[import-untyped]
from oauth2_provider.models import AccessToken, Application, RefreshToken
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views.generic import ProtectedResourceView

from tests.acceptance.django_provider import dialect, ledger


class Bookings(ProtectedResourceView):  # type: ignore[misc]
    def get(self, request: Any) -> Any:
        return JsonResponse({"data": [f"a booking of {request.resource_owner.username}"]})

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().dispatch(request, *args, **kwargs)
        return HttpResponse(status=401) if answer.status_code == 403 else answer


bookings = Bookings.as_view()


def register(client_id: str, secret: str, redirect_uri: str = "http://127.0.0.1:8765/callback") -> None:
    """Make a client, if there is none of this id."""
    Application.objects.get_or_create(
        client_id=client_id,
        defaults={
            "name": client_id,
            "client_secret": secret,
            # Hashed it costs half a second of CPU a request.
            "hash_client_secret": False,
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
            "redirect_uris": redirect_uri,
        },
    )


@csrf_exempt  # type: ignore[untyped-decorator]
def add_client(request: Any) -> Any:
    """`{"client_id", "secret", "redirect_uri", "says_dead": [status, body]}`: it is told so of a dead refresh token.

    Null: as the toolkit says it itself.
    """
    wanted = json.loads(request.body)
    register(wanted["client_id"], wanted["secret"], wanted["redirect_uri"])
    if wanted["says_dead"] is not None:
        dialect.teach(wanted["client_id"], *wanted["says_dead"])
    return JsonResponse({})


@csrf_exempt  # type: ignore[untyped-decorator]
def add_user(request: Any) -> Any:
    """`{"name", "password"}`: somebody who can sign in."""
    wanted = json.loads(request.body)
    User.objects.create_user(wanted["name"], password=wanted["password"])
    return JsonResponse({})


@csrf_exempt  # type: ignore[untyped-decorator]
def mint(request: Any) -> Any:
    """`{"client_id", "count", "prefix"}`: consents of as many users, as JSON Lines that `grants import` reads."""
    wanted = json.loads(request.body)
    application = Application.objects.get(client_id=wanted["client_id"])
    life = oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS
    with transaction.atomic():
        rows = [_consent(application, f"{wanted['prefix']}{number}", life) for number in range(1, wanted["count"] + 1)]
    return HttpResponse("".join(json.dumps(row) + "\n" for row in rows), content_type="application/jsonl")


def _consent(application: Any, ref: str, life: float) -> dict[str, Any]:
    user = User.objects.create(username=ref)
    access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    held = AccessToken.objects.create(
        user=user,
        application=application,
        token=access,
        scope="read write",
        expires=timezone.now() + timedelta(seconds=life),
    )
    RefreshToken.objects.create(
        user=user, application=application, token=refresh, access_token=held, token_family=uuid4()
    )
    return {
        "ref": ref,
        "access_token": access,
        "refresh_token": refresh,
        "scope": "read write",
        "expires_in": life,
        "created_at": int(time.time()),
    }


def living(_request: Any) -> Any:
    """By user: how many refresh tokens and access tokens live, straight from the toolkit's tables."""
    found = {name: {"refresh": 0, "access": 0} for name in User.objects.values_list("username", flat=True)}
    for name in RefreshToken.objects.filter(revoked__isnull=True, access_token__isnull=False).values_list(
        "user__username", flat=True
    ):
        found[name]["refresh"] += 1
    for name in AccessToken.objects.filter(expires__gt=timezone.now()).values_list("user__username", flat=True):
        found[name]["access"] += 1
    return JsonResponse(found)


def asked(request: Any) -> Any:
    """Every refresh asked so far by `?client_id=`: whose, when, by which token, and the answer's status."""
    tokens = RefreshToken.objects.filter(application__client_id=request.GET["client_id"])
    owner = dict(tokens.values_list("token", "user__username"))
    rows = [{"ref": owner[row["refresh_token"]], **row} for row in ledger.asked() if row["refresh_token"] in owner]
    return JsonResponse(rows, safe=False)


@csrf_exempt  # type: ignore[untyped-decorator]
def end_by_user(request: Any) -> Any:
    """`{"refs"}`: these users withdraw their consent."""
    for token in RefreshToken.objects.filter(user__username__in=json.loads(request.body)["refs"], revoked__isnull=True):
        token.revoke()
    return JsonResponse({})
