"""What no waiting heals: `evergrant up` says so at once, instead of starting again and again what cannot work."""

from models.sealing.keys import KeysError, RingOpen
from models.sealing.vault import Vault
from settings import Settings, SettingsError
from worker.embedded.errors import RingLost, RingMissing
from worker.embedded.home import Home
from worker.embedded.lock import holder
from worker.embedded.rings import RINGS, is_given, missing_rings

# What remains to be done with a new ring.
THEN = {"refresh": ", set every client's secret again and have every user connect again", "access": ""}


def refuse_unfit(settings: Settings) -> None:
    """Look before anything is started.

    Raises:
        SettingsError: a database of the user's own needs the environment's name, a ring that is named cannot be had or
            used, spans cannot be sent from here, or web must not or cannot listen there.
        RingMissing: a database of the user's own, and no key ring for it.
        RingOpen: others may read or write a ring.
        HomeForeign: the home is somebody else's.

    """
    if settings.database_url is not None:
        if settings.environment is None:
            message = "EVERGRANT_ENVIRONMENT: a database of your own needs this name, for example production"
            raise SettingsError(message)
        _refuse_missing_rings(settings)
    _refuse_unusable_rings(settings)
    if settings.otlp_endpoint is not None:
        from worker import traces

        traces.require(settings)  # each child would end again and again
    if settings.wants_web:
        _refuse_doors(settings)


def _refuse_missing_rings(settings: Settings) -> None:
    home = Home(settings.home.expanduser().absolute())
    for ring in RINGS:
        if not is_given(settings, ring):
            made = home.key_ring(ring)
            how = (
                f"set {_variable(ring)}_FILE to {made if made.exists() else 'the ring that its values are sealed with'}"
            )
            if not made.exists():
                how += f", or, where none are yet, make one with `evergrant keys generate --ring {ring} --out FILE`"
            raise RingMissing(ring=ring, how=how)


def _refuse_unusable_rings(settings: Settings) -> None:
    try:
        Vault.from_settings(settings)
    except RingOpen:
        raise
    except KeysError as error:
        raise SettingsError(str(error)) from None


def _refuse_doors(settings: Settings) -> None:
    from worker.web import listening

    tokens, ops = listening.token_listener(settings), listening.ops_listener(settings)
    public = listening.public_listener(settings)
    # Where this home is in use it is its own web that listens there, and whoever takes the home says so.
    if holder(Home(settings.home.expanduser().absolute())) is not None:
        return
    listening.refuse_taken(ops[0], variable="EVERGRANT_OPS_BIND")
    if tokens is not None:
        listening.refuse_taken(tokens[0], variable="EVERGRANT_TOKEN_BIND")
    if public is not None:
        listening.refuse_taken(public[0], variable="EVERGRANT_PUBLIC_BIND")


def refuse_lost_rings(sealed: dict[tuple[str, str], int], home: Home, settings: Settings) -> None:
    """Make no new ring in the place of one that was lost: what was sealed with that would look as if nobody needed it.

    `sealed`: how many values of the database need each key, by ring and id.

    Raises:
        RingLost: a ring of this home is gone, and values are sealed with it.

    """
    for ring in missing_rings(settings, home):
        path = home.key_ring(ring)
        count = sum(rows for (name, _), rows in sealed.items() if name == ring)
        if count:
            needs = "1 sealed value needs" if count == 1 else f"{count} sealed values need"
            again = f"`evergrant keys generate --ring {ring} --out {path}`"
            how = f"put it back there from your backup, or, only where it is lost for good, {again}{THEN[ring]}"
            raise RingLost(ring=ring, path=path, needs=needs, how=how)


def _variable(ring: str) -> str:
    return f"EVERGRANT_{ring.upper()}_TOKEN_KEYS"
