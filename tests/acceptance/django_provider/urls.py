"""What this provider answers: the toolkit's own endpoints and page of consent, a sign-in, an API, a door for tests."""

from django.contrib.auth.views import LoginView  # type: ignore[import-untyped]
from django.urls import include, path  # type: ignore[import-untyped]

from tests.acceptance.django_provider import views

urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("sign-in/", LoginView.as_view(template_name="sign_in.html")),
    path("api/bookings", views.bookings),
    path("_control/clients", views.add_client),
    path("_control/users", views.add_user),
    path("_control/grants", views.mint),
    path("_control/living", views.living),
    path("_control/asked", views.asked),
    path("_control/end", views.end_by_user),
]
