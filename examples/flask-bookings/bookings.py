"""A web application whose customers connect their account once and see their bookings from then on. See README.md."""

import json
import os
import re
import secrets
import shlex
import subprocess
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from flask import Flask, abort, redirect, render_template, request, session
from werkzeug.wrappers import Response

import evergrant_client
from evergrant_client import Evergrant, GrantRevoked, NeedsConsent, NotFreshYet, UnknownGrant

CLIENT = os.environ["BOOKINGS_CLIENT"]
API = os.environ["BOOKINGS_URL"]
COMMAND = shlex.split(os.environ.get("BOOKINGS_EVERGRANT", "evergrant"))
SECONDS = 30

app = Flask(__name__)
# Whoever restarts it without a key of its own signs everybody out.
app.secret_key = os.environ.get("BOOKINGS_SECRET_KEY") or secrets.token_hex(32)
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # another site can post no form in a customer's name
evergrant = Evergrant()


@app.get("/")
def home() -> str:
    """Show a customer's bookings, or the way to connect."""
    if (ref := session.get("ref")) is None:
        return render_template("page.html")
    try:
        auth = evergrant_client.requests.auth(evergrant, ref, client=CLIENT, timeout=10)
        answer = requests.get(API, auth=auth, timeout=SECONDS)
    except UnknownGrant:
        return render_template("page.html", ref=ref, connect="Connect your account to see your bookings.")
    except (NeedsConsent, GrantRevoked):
        return render_template("page.html", ref=ref, connect="Your account must be connected again.")
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
    """Send a customer to the provider."""
    ref = session["ref"] if "ref" in session else abort(401)
    made = evergrant_command("authorize-url", ref, "--label", f"org={request.form['org']}")
    # The callback counts in this browser alone: a forwarded link would store somebody else's consent under this ref.
    session["state"] = parse_qs(urlsplit(made["url"]).query)["state"][0]
    return redirect(made["url"])


@app.get("/callback")
def callback() -> Response:
    """Take a customer who comes back from the provider, and have the code exchanged."""
    begun = session.pop("state", None)
    if begun is None or begun != request.args.get("state"):
        abort(400, "This connection was not begun in this browser, or was ended already: begin again.")
    evergrant_command("exchange", session["ref"], "--callback-url-file", "-", stdin=request.url)
    return redirect("/")


def evergrant_command(verb: str, ref: str, *options: str, stdin: str = "") -> dict[str, Any]:
    """Carry out `evergrant grants VERB REF`; the callback's URL holds a code, so it goes by standard input."""
    command = [*COMMAND, "grants", verb, *options, "--client", CLIENT, "--json", "--", ref]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    if done.returncode != 0:
        app.logger.error("grants %s %s: %s", verb, ref, done.stderr)
        abort(502, "The account could not be connected: begin again.")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
