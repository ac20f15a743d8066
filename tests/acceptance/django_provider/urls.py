"""What this provider answers: the toolkit's own token and revocation endpoints, an API, and a door for tests."""

from django.urls import include, path  # type: ignore[import-untyped]

from tests.acceptance.django_provider import views

urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("api/bookings", views.bookings),
    path("_control/clients", views.add_client),
    path("_control/grants", views.mint),
    path("_control/living", views.living),
    path("_control/asked", views.asked),
    path("_control/end", views.end_by_user),
]
