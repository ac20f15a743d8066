/* The provider: pairs of tokens, numbered as they are issued, and what its rotation profile does to older ones. */

byte issued = 1;      /* how many pairs there are */
byte alive = 1;       /* set of pairs whose refresh token can be refreshed */
#if KILLS_BY_REUSE
byte spent = 0;       /* set of pairs that were refreshed */
#endif
#if PROFILE == GRACE
byte in_grace = 0;    /* set of spent pairs that still work */
#endif
byte parent[PAIRS];   /* the pair that was refreshed for it */
byte asked_of[PAIRS]; /* the generation for which it was asked */
byte lost = 0;        /* set of living pairs whose answer reached nobody, or died with a process unjournaled */
bool withdrawn;       /* the user has ended the consent, or our revocation has */
bool mad;             /* it refuses everybody in the word for dead: another secret, an outage of its own */
bool was_mad;         /* once is enough: no witness helps against twice */

#define LIVES(n) (alive & BIT(n))

inline all_end() {
#if PROFILE == GRACE
    in_grace = 0;
#endif
    alive = 0;
    lost = 0
}

/* The answer has reached nobody: it makes no difference any more what it was. */
inline lose(n) {
    lost = lost | (BIT(n) & alive);
    parent[n] = 0;
    asked_of[n] = 0
}

/* A refresh is carried out, or refused: the new pair, or NOBODY. Inside a step. */
inline carry_out(presented, asked_from) {
    p = NOBODY;
    if
    :: mad -> skip
    :: !mad && LIVES(presented) ->
        p = issued;
        issued++;
        parent[p] = presented;
        asked_of[p] = asked_from;
        alive = alive | BIT(p);
#if PROFILE == UNTIL_NEXT_REFRESH
        if
        :: presented > 0 -> alive = alive & ~BIT(parent[presented])
        :: else -> skip
        fi;
#endif
#if PROFILE == GRACE
        if
        :: spent & BIT(presented) -> skip /* a repeat does not prolong it */
        :: else -> in_grace = in_grace | BIT(presented)
        fi;
#endif
#if PROFILE == IMMEDIATE || PROFILE == FAMILY
        alive = alive & ~BIT(presented);
#endif
#if KILLS_BY_REUSE
        spent = spent | BIT(presented);
#endif
        lost = lost & alive
    :: !mad && !LIVES(presented) ->
#if KILLS_BY_REUSE
        if
        :: spent & BIT(presented) -> all_end()
        :: else -> skip
        fi;
#endif
        skip
    fi
}

/* An access token is presented. At ON_USE that is the end of the pair that it came of. */
inline present(pair_used) {
#if PROFILE == ON_USE
    alive = alive & ~BIT(parent[pair_used]);
    lost = lost & alive
#else
    skip
#endif
}

/* A pair is revoked: the whole consent ends, or that pair alone. */
inline revoke_at_provider(pair_revoked) {
#if PROFILE == NONE || PROFILE == GRACE || PROFILE == FAMILY
    all_end()
#else
    alive = alive & ~BIT(pair_revoked);
    lost = lost & alive
#endif
}
