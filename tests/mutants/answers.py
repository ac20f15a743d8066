"""The known wrong ways to read an answer: a token set is lost by it, one who lives is blamed, or all wait for one."""

from tests.mutants.mutant import Edit, Mutant

INTEGRATION = "tests/integration"
OAUTH = "tests/unit/oauth"
POLICY = "tests/unit/policy"
BARE = "--noconftest"  # pure functions need no engines, and a start without them is four times quicker

FRAMING = f"{INTEGRATION}/test_transport_framing.py"
LIMITS = f"{INTEGRATION}/test_limits_of_a_provider.py"
SECRETS = f"{INTEGRATION}/test_two_secrets.py"
EXCHANGED = f"{INTEGRATION}/test_grants_without_a_refresh_token.py"

ANSWERS: tuple[Mutant, ...] = (
    Mutant(
        "an_answer_is_json_or_nothing",
        "a notice of PHP's before a token set makes it unreadable",
        (f"{OAUTH}/test_answer_text.py", "-k", "stands_around", BARE),
        (
            Edit(
                "tasks/oauth/token_answer.py",
                "    if amid_text is not None:\n        return amid_text\n",
                "    if amid_text is not None and not body:\n        return amid_text\n",
            ),
        ),
    ),
    Mutant(
        "any_object_in_a_text_is_the_answer",
        "a token set is taken out of a page or of another object, which was written for somebody else",
        (f"{OAUTH}/test_answer_text.py", "-k", "surely_the_answer", BARE),
        (
            Edit(
                "tasks/oauth/answer_text.py",
                "        if braces > 0 or brackets > 0 or is_of_a_page(between):\n            return\n",
                "",
            ),
        ),
    ),
    Mutant(
        "an_error_that_repeats_what_was_sent_is_a_token_set",
        "of an error amid a text the tokens in it count, which are those that were sent",
        (f"{OAUTH}/test_answer_text.py", "-k", "surely_the_answer", BARE),
        (
            Edit(
                "tasks/oauth/token_answer.py",
                "        if isinstance(answer, TokenSet) and not tells_error(members):\n",
                "        if isinstance(answer, TokenSet):\n",
            ),
        ),
    ),
    Mutant(
        "what_came_goes_with_its_frame",
        "of an answer whose end never came nothing is kept, were its token set whole",
        (FRAMING,),
        (
            Edit(
                "tasks/oauth/transport.py",
                "return flight.saved(request) or flight.failed(error)",
                "return flight.failed(error)",
            ),
        ),
    ),
    Mutant(
        "half_a_form_is_a_token_set",
        "whatever reads as a token set is whole, be it a form that would have gone on",
        (FRAMING, "-k", "no_whole_token_set"),
        (
            Edit(
                "tasks/oauth/whole_answer.py",
                "    if not is_whole_json(body):\n        return False\n",
                "",
            ),
        ),
    ),
    Mutant(
        "what_follows_an_answer_costs_it",
        "a head is parsed with whatever came behind it, and what is refused takes the answer before it along",
        (f"{OAUTH}/test_answer_size.py", BARE),
        (
            Edit(
                "tasks/oauth/answer_size.py",
                "            end = len(piece) if self._has_head else self._end_of_head(piece)\n",
                "            end = len(piece)\n",
            ),
        ),
    ),
    Mutant(
        "without_its_checksum_it_is_nothing",
        "what was compressed and has lost its last bytes counts as encoded still",
        (FRAMING, "-k", "whole_token_set"),
        (
            Edit(
                "tasks/oauth/codings.py",
                "return plain if plain is not None and (is_whole or is_whole_json(plain)) else None",
                "return plain if is_whole else None",
            ),
        ),
    ),
    Mutant(
        "half_of_what_was_compressed_is_the_answer",
        "what could be inflated counts, whether its end came or not",
        (f"{OAUTH}/test_codings.py", BARE),
        (
            Edit(
                "tasks/oauth/codings.py",
                "return plain if plain is not None and (is_whole or is_whole_json(plain)) else None",
                "return plain",
            ),
        ),
    ),
    Mutant(
        "a_header_says_what_is_compressed",
        "what a proxy has inflated is inflated again, for it left the header there",
        (f"{OAUTH}/test_codings.py", BARE),
        (
            Edit(
                "tasks/oauth/codings.py",
                "    while codings and not _is_text(plain):",
                "    while codings:",
            ),
        ),
    ),
    Mutant(
        "an_odd_refresh_token_costs_the_access_token",
        "`refresh_token: false` makes the answer unreadable, though the access token beside it was all that came",
        (f"{OAUTH}/test_token_answer.py", "-k", "refresh_token_that", BARE),
        (
            Edit(
                "tasks/oauth/token_answer.py",
                "    refresh_token = next(filter(is_token, told), None)\n"
                '    return refresh_token, ["refresh_token"] if told and refresh_token is None else []\n',
                "    refresh_token = next(iter(told), None)\n    return refresh_token, []\n",
            ),
        ),
    ),
    Mutant(
        "false_is_a_strange_refresh_token",
        "of a provider that says by `refresh_token: false` that there is none it is told that its answers are strange",
        (f"{OAUTH}/test_token_answer.py", "-k", "refresh_token_that_is_nothing", BARE),
        (
            Edit(
                "tasks/oauth/token_answer.py",
                "    told = [each for each in found if each]\n",
                "    told = [each for each in found if each is not None]\n",
            ),
        ),
    ),
    Mutant(
        "no_refresh_token_is_the_next_one",
        "an answer without a refresh token takes the one away that is held",
        (
            f"{INTEGRATION}/test_token_places.py",
            "-k",
            "refresh_token_that_is_none",
        ),
        (
            Edit(
                "models/token_set.py",
                "coalesce(answer.sealed_refresh_token, kept.sealed_refresh_token, g.sealed_refresh_token),",
                "answer.sealed_refresh_token,",
            ),
        ),
    ),
    Mutant(
        "only_a_429_asks_to_wait",
        "a 403 with a Retry-After is a refusal of the grant that was told so",
        (f"{POLICY}/test_outcome.py", "-k", "asks_to_wait", BARE),
        (
            Edit(
                "tasks/policy/outcome.py",
                "            wait = None if code in WORDS_OF_REFUSAL else retry_after(response.headers, wall_clock)\n",
                "            wait = None\n",
            ),
        ),
    ),
    Mutant(
        "a_retry_after_outweighs_a_word",
        "invalid_client is no refusal where a machine in between has added its header",
        (f"{POLICY}/test_outcome.py", "-k", "word_of_the_standards", BARE),
        (
            Edit(
                "tasks/policy/outcome.py",
                "            wait = None if code in WORDS_OF_REFUSAL else retry_after(response.headers, wall_clock)\n",
                "            wait = retry_after(response.headers, wall_clock)\n",
            ),
        ),
    ),
    Mutant(
        "a_header_of_a_providers_own_asks_to_wait",
        "what a provider puts into all of its answers makes each refusal a limit",
        (f"{POLICY}/test_outcome.py", "-k", "header_of_a_providers_own", BARE),
        (
            Edit(
                "tasks/policy/outcome.py",
                "            wait = None if code in WORDS_OF_REFUSAL else retry_after(response.headers, wall_clock)\n",
                "            wait = None if code in WORDS_OF_REFUSAL else _told_wait(response, provider, wall_clock)\n",
            ),
        ),
    ),
    Mutant(
        "a_limit_is_told_by_its_status",
        "`rate_limit_exceeded` with a 400 refuses the grant that was told so, and leaves it for an hour",
        (f"{INTEGRATION}/test_refusals.py", "-k", "word_alone"),
        (
            Edit(
                "tasks/policy/outcome.py",
                "        case ErrorAnswer(code=code, description=sentence) if word := word_of_limit(code, sentence):\n"
                "            return NotNow(word, response.status, _told_wait(response, provider, wall_clock))\n",
                "",
            ),
        ),
    ),
    Mutant(
        "a_word_outweighs_the_sentence_beside_it",
        "`invalid_grant`, *login rate exceeded* makes a suspect of whoever was refreshed too often",
        (f"{POLICY}/test_outcome.py", "-k", "asks_to_wait", BARE),
        (
            Edit(
                "tasks/policy/limits.py",
                "    return ASKED_TO_WAIT if is_told else None\n",
                "    return None\n",
            ),
        ),
    ),
    Mutant(
        "too_many_of_anything_is_a_limit",
        "a grant that is refused for its many devices waits for ever, and no human is told",
        (f"{POLICY}/test_outcome.py", "-k", "itself_is_over", BARE),
        (
            Edit(
                "tasks/policy/limits.py",
                "|.*too.?many.?(requests|attempts|calls).*|",
                "|.*too.?many.*|",
            ),
        ),
    ),
    Mutant(
        "a_success_is_a_revocation",
        "a 200 that tells an error, or asks to sign in, ends a revocation: what lives is shredded",
        (f"{POLICY}/test_outcome.py", "-k", "takes_no_revocation", BARE),
        (
            Edit(
                "tasks/policy/outcome.py",
                "            return _taken(answer, provider, wall_clock, hide)\n",
                "            return Accepted(http_status=answer.status)\n",
            ),
        ),
    ),
    Mutant(
        "a_number_is_no_error",
        'a 200 with `{"errcode": 40001}` ends a revocation',
        (f"{POLICY}/test_outcome.py", "-k", "takes_no_revocation", BARE),
        (
            Edit(
                "tasks/oauth/error_answers.py",
                'for name in ("error", "errors", "errcode", "errorCode", "error_code"))',
                'for name in ("error", "errors"))',
            ),
        ),
    ),
    Mutant(
        "whatever_stands_at_error_is_one",
        '`{"error": {"code": "ok"}}` ends no revocation, and no look at the API',
        (f"{POLICY}/test_outcome.py", "-k", "success_that_tells_no_error", BARE),
        (
            Edit(
                "tasks/oauth/error_answers.py",
                "        return bool(told) and not (words and all(map(_is_well, words)))\n",
                "        return bool(told)\n",
            ),
        ),
    ),
    Mutant(
        "a_page_is_a_revocation",
        "a sign-in page ends a revocation, for it tells no error",
        (f"{INTEGRATION}/test_revocation_by_rule.py", "-k", "has_revoked_nothing_and_is_tried_again"),
        (
            Edit(
                "tasks/policy/outcome.py",
                "    if is_page(text_of(response.body)):\n"
                "        return NotUnderstood(UNREADABLE, response.status)\n"
                "    return Accepted(",
                "    return Accepted(",
            ),
        ),
    ),
    Mutant(
        "only_the_well_make_a_trial",
        "a right new secret is tried by nobody where the provider has ended the former one, for then all fail",
        (SECRETS, "-k", "found_again"),
        (
            Edit(
                "tasks/runtime/trial.py",
                "return job.doubt_since is None and not job.valve_shut",
                "return job.doubt_since is None and job.failing_since is None and not job.valve_shut",
            ),
        ),
    ),
    Mutant(
        "whoever_fails_makes_a_trial",
        "a grant that fails alone tries a refused secret while others are well: what refuses it tells of no secret",
        (SECRETS, "-k", "fails_alone"),
        (
            Edit(
                "models/credentials.py",
                "and (cast(:in_trouble_since as timestamptz) is null or exists (",
                "and (true or cast(:in_trouble_since as timestamptz) is null or exists (",
            ),
        ),
    ),
    Mutant(
        "known_before_the_trial_ended",
        "the number of the credentials in force is read before a trial in the same group has changed it",
        (SECRETS, "-k", "beside_a_trial_that_succeeds"),
        (
            Edit(
                "tasks/settling/credentials.py",
                "    told = Told([_with_number(connection, *each) for each in zip(group, outcomes, strict=True)],"
                " list(outcomes))\n",
                "    known = clients.known(connection, telling)\n"
                "    told = Told([_with_number(connection, *each) for each in zip(group, outcomes, strict=True)],"
                " list(outcomes))\n",
            ),
            Edit(
                "tasks/settling/credentials.py",
                "    # Only now: where a trial has just succeeded what came under the other secret tells nothing of its"
                " grant.\n    known = clients.known(connection, telling)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "any_refusal_ends_what_was_exchanged",
        "once an exchanged token has ended whatever is not understood is its end, be it our own wrong secret",
        (f"{POLICY}/test_kinds.py", "-k", "no_end_of_an_exchanged_token", BARE),
        (
            Edit(
                "tasks/policy/kinds.py",
                "Kind.EXCHANGE if token_ended and _speaks_of_the_token(end):",
                "Kind.EXCHANGE if token_ended:",
            ),
        ),
    ),
    Mutant(
        "whoever_is_ill_ends_what_was_exchanged",
        "`server_error` is the provider's own word, and so the end of an exchanged token",
        (f"{POLICY}/test_kinds.py", "-k", "no_end_of_an_exchanged_token", BARE),
        (Edit("tasks/policy/kinds.py", " or end.code in _OURS or will_pass(end.code)", " or end.code in _OURS"),),
    ),
    Mutant(
        "a_page_ends_what_was_exchanged",
        "a page with a link that looks like a form is the provider's own word",
        (EXCHANGED, "-k", "condemns_none_that_has_ended"),
        (
            Edit(
                "tasks/settling/reading.py",
                "ended = _has_ended(job, provider) and _is_json(arrived.answer)",
                "ended = _has_ended(job, provider)",
            ),
        ),
    ),
    Mutant(
        "a_guess_ends_what_was_exchanged",
        "the life that a file guesses is as good as one that was told: after it a refusal is the end",
        (EXCHANGED, "-k", "may_be_a_guess"),
        (
            Edit(
                "tasks/settling/reading.py",
                "    return told and job.access_expires_at is not None",
                "    return job.access_expires_at is not None",
            ),
        ),
    ),
    Mutant(
        "a_wrong_new_secret_ends_what_was_exchanged",
        "an exchanged token is refused under credentials that nothing proves, and is blamed for them",
        (f"{POLICY}/test_kinds.py", "-k", "waits_for_proof", BARE),
        (
            Edit(
                "tasks/policy/kinds.py",
                "            if not proven:\n                return replace(end, code=end.code + UNPROVEN)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "a_grants_own_limit_shuts_the_valve_each_time",
        "who is told 429 alone, time and again, stops all of its client each time",
        (f"{LIMITS}::test_a_grant_with_a_limit_of_its_own_stops_no_other",),
        (
            Edit(
                "tasks/policy/valve.py",
                "Sign.NOT_NOW if not _is_its_own_limit(valve, result) or len(valve.strike_grant_ids) >= STRIKES:\n",
                "Sign.NOT_NOW:\n",
            ),
        ),
    ),
    Mutant(
        "only_a_429_is_a_grants_own_limit",
        "who is asked to wait by a 403, alone and time and again, stops all of its client each time",
        (f"{LIMITS}::test_a_grant_with_a_limit_of_its_own_stops_no_other",),
        (
            Edit(
                "tasks/settling/failure.py",
                "row.last_error_at if may_be_its_own(end) and row.last_error_code == end.code else None",
                'row.last_error_at if may_be_its_own(end) and row.last_error_code == "http_429" else None',
            ),
        ),
    ),
    Mutant(
        "a_limit_told_before_is_always_its_grants",
        "a limit of the client is heard by nobody where each of those who are told so was told so before",
        (f"{LIMITS}::test_a_limit_of_the_client_slows_all_of_it_at_once_whoever_was_told_so_before",),
        (
            Edit(
                "tasks/policy/valve.py",
                "if not _is_its_own_limit(valve, result) or len(valve.strike_grant_ids) >= STRIKES:\n",
                "if not _is_its_own_limit(valve, result):\n",
            ),
        ),
    ),
    Mutant(
        "a_rule_that_names_the_client_is_doubted",
        "a rule says whose limit it is, and the second time it is taken for the grant's all the same",
        (f"{LIMITS}::test_a_rule_that_says_that_it_is_the_clients_is_believed",),
        (
            Edit(
                "tasks/settling/failure.py",
                "return isinstance(end, NotNow) and not end.unknown and end.rule is None\n",
                "return isinstance(end, NotNow) and not end.unknown\n",
            ),
        ),
    ),
    Mutant(
        "the_first_of_a_grants_own_limit_stops_all",
        "who is told 429 for the first time stops all of its client, though those who were asked later are served",
        (f"{POLICY}/test_valve.py", "-k", "served_and_nobody_else", BARE),
        (
            Edit(
                "tasks/policy/valve.py",
                "    if result.refused_since is not None:\n        return True\n    served_later",
                "    if result.refused_since is None:\n        return False\n    return True\n    served_later",
            ),
        ),
    ),
    Mutant(
        "served_at_all_proves_that_there_is_no_limit",
        "a 429 is its grant's own wherever others were served before it: each limit of a client begins so",
        (f"{POLICY}/test_valve.py", "-k", "asked_no_later", BARE),
        (
            Edit(
                "tasks/policy/valve.py",
                "valve.witness_at is not None and valve.witness_at > result.started_at\n    return result.may_be",
                "valve.witness_at is not None\n    return result.may_be",
            ),
        ),
    ),
    Mutant(
        "each_of_many_has_a_limit_of_its_own",
        "of a bucket that lets some through nobody ever hears that it is the client's",
        (f"{POLICY}/test_valve.py", "-k", "second_grant_within_a_minute", BARE),
        (
            Edit(
                "tasks/policy/valve.py",
                " and served_later and valve.minute_grant_ids == [result.grant_id]\n",
                " and served_later\n",
            ),
        ),
    ),
)
