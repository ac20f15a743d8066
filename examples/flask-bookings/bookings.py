"""A web application whose customers connect their account, see their bookings, and leave again. See README.md."""

import os
import re
import secrets

import requests
from flask import Flask, abort, flash, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

import evergrant_client
from evergrant_client import Evergrant, EvergrantError, GrantRevoked, NeedsConsent, NotFreshYet, UnknownGrant

CLIENT = os.environ["BOOKINGS_CLIENT"]
API = os.environ["BOOKINGS_URL"]
SECONDS = 30
ENDS = {
    "connected": "Your account is connected.",
    "denied": "Your account is not connected: you said no, or it was said for you.",
    "failed": "Your account could not be connected. Please try again.",
}

app = Flask(__name__)
# Whoever restarts it without a key of its own signs everybody out.
app.secret_key = os.environ.get("BOOKINGS_SECRET_KEY") or secrets.token_hex(32)
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # another site can post no form in a customer's name
evergrant = Evergrant()


@app.get("/")
def home() -> str:
    """Show a customer's bookings, or what they must do to see them."""
    if (ref := session.get("ref")) is None:
        return render_template("page.html")
    try:
        auth = evergrant_client.requests.auth(evergrant, ref, client=CLIENT, timeout=10)
        answer = requests.get(API, auth=auth, timeout=SECONDS)
    except (UnknownGrant, GrantRevoked):
        return render_template("page.html", ref=ref, connect="Connect your account to see your bookings.")
    except NeedsConsent:
        return render_template("page.html", ref=ref, connect="Your integration needs you: connect your account again.")
    except NotFreshYet as error:
        later = {"Retry-After": f"{error.retry_after:.0f}"}
        abort(Response(f"Please try again in {error.retry_after:.0f} s.", 503, later))
    except requests.RequestException:
        abort(502, "The provider does not answer.")
    if not answer.ok:
        abort(502, f"The bookings cannot be read now (status {answer.status_code}).")
    return render_template("page.html", ref=ref, bookings=answer.json()["data"])


@app.post("/sign-in")
def sign_in() -> Response:
    """Sign a customer in; this example asks for no password, so put your own in its place."""
    if re.fullmatch(r"[a-z0-9-]{1,40}", name := request.form["name"]) is None:
        abort(400, "A name is 1 to 40 small letters, digits or dashes.")
    session.clear()
    session["ref"] = f"customer-{name}"
    return redirect("/")


@app.post("/connect")
def connect() -> Response:
    """Send a customer's browser to connect; the link is made for whoever is signed in, and shown to nobody else."""
    labels = {"org": request.form["org"]} if request.form.get("org") else None
    back = url_for("came_back", _external=True)
    try:
        link = evergrant.connect_url(signed_in(), client=CLIENT, return_to=back, labels=labels)
    except EvergrantError as error:
        app.logger.error("no link for %s: %s", session["ref"], error)  # noqa: TRY400  # it says all that there is
        abort(503, "Accounts cannot be connected now. Please try again later.")
    return redirect(link, 303)


@app.get("/came-back")
def came_back() -> Response:
    """Take a customer back. Anybody can type this address: it says what to tell, and the grant itself what is so."""
    if request.args.get("ref") == signed_in():
        flash(ENDS.get(request.args.get("evergrant", ""), ENDS["failed"]))
    return redirect("/")


@app.post("/disconnect")
def disconnect() -> Response:
    """End a customer's grant: from now on no token of it is handed out, and the provider is told to forget it."""
    evergrant.request_revocation(signed_in(), client=CLIENT, reason="customer disconnected", missing_ok=True)
    flash("Your account is disconnected.")
    return redirect("/")


def signed_in() -> str:
    """The ref of whoever is signed in."""
    ref: str = session["ref"] if "ref" in session else abort(401)
    return ref
