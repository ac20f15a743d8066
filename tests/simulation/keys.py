"""A stand-in for the vault: it seals nothing, but opens only what was sealed for the same row and purpose."""

from models.sealing.keys import SealBroken


class OpenVault:
    """What the vault does, without the cryptography."""

    def seal(self, plaintext: str, *, table: str, row_id: object, purpose: str) -> bytes:
        return f"{table}|{row_id}|{purpose}|{plaintext}".encode()

    def open(self, sealed: bytes, *, table: str, row_id: object, purpose: str) -> str:
        place, text = f"{table}|{row_id}|{purpose}|", bytes(sealed).decode()
        if not text.startswith(place):
            raise SealBroken(place)
        return text.removeprefix(place)

    def fingerprint(self, token: str) -> bytes:
        return b"f:" + token.encode()

    def fingerprints(self, token: str) -> list[bytes]:
        return [self.fingerprint(token)]


def token_of(fingerprint: bytes) -> str:
    """The refresh token that a fingerprint of ours stands for."""
    return fingerprint[2:].decode()
