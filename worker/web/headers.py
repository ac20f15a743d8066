"""Headers that a provider's API wants: those made from a grant's labels, and the one that presents its token."""

import json
from collections.abc import Mapping

import structlog

from models.views.access_token import TokenState
from settings import Settings
from tasks.oauth.errors import LabelNotChosen, OAuthError
from tasks.oauth.messages import api_headers, labels_in_headers
from tasks.oauth.provider import Provider
from tasks.runtime import registration
from worker.web.parameters import refuse_unknown
from worker.web.refusal import label_not_chosen, provider_file

log = structlog.get_logger()

# Parameters of a token request that are no labels.
OWN = frozenset({"client", "min_ttl", "wait"})


class Headers:
    """Makes headers by the provider files of this machine, each read once for each client's overrides."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read: dict[tuple[str, str], Provider] = {}

    def of(self, state: TokenState, chosen: Mapping[str, str]) -> dict[str, str]:
        """The headers of one grant; `chosen` says which value of a label is meant.

        Raises:
            Refusal: a label must be chosen, means nothing here, or the provider file cannot be used.

        """
        provider = self._provider(state)
        refuse_unknown(chosen, labels_in_headers(provider) | OWN)
        try:
            return api_headers(provider, state.labels, chosen)
        except LabelNotChosen as error:
            raise label_not_chosen(error) from None

    def api_header(self, state: TokenState) -> str:
        """How the API wants the access token of a grant: a header with `{access_token}` in it.

        Raises:
            Refusal: the provider file cannot be used.

        """
        return self._provider(state).api_header

    def _provider(self, state: TokenState) -> Provider:
        name = (state.provider, json.dumps(state.overrides, sort_keys=True))
        if name not in self._read:
            try:
                self._read[name] = registration.resolve(state.provider, dict(state.overrides), self._settings)
            except OAuthError as error:
                log.error("web.provider_file", client=state.client, reason=str(error))  # noqa: TRY400
                raise provider_file(state.client) from None
        return self._read[name]
