"""An authorization code: what it was allowed for, and whether a client may still turn it into a pair."""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from simulator.ledger import Pair

CODE_LIFE_SECONDS = 600.0


@dataclass(slots=True)
class Code:
    """An authorization code, good once."""

    client_id: str
    redirect_uri: str
    scope: str
    challenge: str
    method: str
    user: str
    expires_at: float
    orgs: tuple[str, ...] = ()
    spent: bool = False
    pair: Pair | None = None

    def redeemable(self, now: float) -> bool:
        """Say whether the code was never used and is not too old."""
        return not self.spent and now <= self.expires_at

    def verified_by(self, verifier: str) -> bool:
        """Check the verifier against the challenge (RFC 7636 §4.6); without a challenge none is wanted."""
        if not self.challenge:
            return not verifier
        if self.method == "plain":
            return verifier == self.challenge
        digest = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        return digest == self.challenge
