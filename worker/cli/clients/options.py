"""The options that say something of a client, where its provider's file does not."""

from collections.abc import Callable

import click

from worker.cli.arguments import Address, Duration, Limit
from worker.cli.clients.pages import Colour, Logo, ReturnTo, Title

# Of tasks/oauth/provider.py, whose import would cost every completion the time of pydantic; a test compares.
ROTATIONS = ("none", "on_use", "until_next_refresh", "grace", "immediate", "family")
BODIES = ("json", "form")
KINDS = ("code", "client_credentials", "exchange")
AUTHS = ("body", "basic", "none", "private_key_jwt", "mtls")

OPTIONS = (
    click.option("--client-id", help="The id that the provider gave us."),
    click.option("--redirect-uri", type=Address(), metavar="URL", help="Where the provider sends users back to."),
    click.option("--authorize-url", metavar="URL", help="Where the user is sent to consent."),
    click.option("--token-url", metavar="URL", help="Where codes are exchanged and tokens refreshed."),
    click.option("--refresh-url", metavar="URL", help="Where tokens are refreshed, if elsewhere."),
    click.option("--introspect-url", metavar="URL", help="Where a token is looked at without using it."),
    click.option("--revoke-url", metavar="URL", help="Where tokens are revoked."),
    click.option("--api-url", metavar="URL", help="Answers 401 to a dead access token."),
    click.option("--confirm-url", metavar="URL", help="Where a new access token is presented once."),
    click.option("--issuer", metavar="URL", help="Read what the server says about itself; options win over it."),
    click.option("--jwt-audience", metavar="URL", help="Whom assertions are for; else the token URL."),
    click.option("--host", "hosts", multiple=True, metavar="HOST", help="The only hosts asked; may be repeated."),
    click.option("--scope", "scopes", multiple=True, metavar="S", help="Asked for; may be repeated."),
    click.option("--rate", metavar="N/minute", help="What may be sent, such as 100/minute, or none."),
    click.option("--burst", type=int, metavar="N", help="Requests under way at once."),
    click.option(
        "--rotation",
        type=click.Choice(ROTATIONS),
        help="What the provider does to the old refresh token.",
    ),
    click.option("--grace", type=Duration(), help="How long it lives at --rotation grace."),
    click.option("--kind", type=click.Choice(KINDS), help="How its grants come to be and are renewed."),
    click.option("--body", type=click.Choice(BODIES), help="How requests are written."),
    click.option("--auth", type=click.Choice(AUTHS), help="How the client proves who it is."),
    click.option("--keep", type=click.Choice(["warm", "on-demand"]), help="Renew always, or when it is read."),
    click.option(
        "--revocation-limit",
        type=Limit(),
        metavar="N",
        help="How many an application may end in ten minutes, or default: 100, or a tenth of its grants.",
    ),
    click.option(
        "--return-to",
        type=ReturnTo(),
        multiple=True,
        metavar="URL",
        help="Customers may be sent there, and below it, after connecting; may be repeated.",
    ),
    click.option("--title", type=Title(), help="Who its pages speak for, such as your product; else its name."),
    click.option("--logo", "logo_url", type=Logo(), metavar="URL", help="A picture for its pages, by https."),
    click.option("--colour", "--color", "colour", type=Colour(), metavar="#RRGGBB", help="The colour of its pages."),
)


def described(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option that describes a client."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


SECRETS = (
    click.option("--client-secret-file", metavar="FILE", help="The client secret; - reads standard input."),
    click.option("--private-key-file", metavar="FILE", help="A private key in PEM, for private_key_jwt or mtls."),
    click.option("--certificate-file", metavar="FILE", help="Its certificate and who issued it in PEM, for mtls."),
)


def with_secret(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name what a client proves with who it is."""
    for option in reversed(SECRETS):
        command = option(command)
    return command
