/* A worker process: where it is with its one attempt of this grant, and what it has read of the row. */

#define IDLE 0
#define BEGUN 1     /* start is committed */
#define SENT 2      /* the first byte has left */
#define ANSWERED 3  /* a token set is in memory */
#define REFUSED 4
#define UNKNOWN 5
#define KEPT 6      /* the answer is journaled, or the journal is broken */
#define SETTLED 7   /* the database has it */
#define KILLING 8   /* a revocation under way */
#define TURNED_AWAY 9 /* a no that says nothing of the grant */

typedef Process {
    byte at;
    byte generation;
    byte token;       /* what is sent */
    byte pair;        /* what has come */
    bool of_former;   /* a former token is presented */
    bool witnessed;   /* another grant was refreshed between the first refusal and this attempt */
    bool mine;        /* the row has the claim number of this attempt */
    bool current;     /* the row's started_at is that of this attempt */
    bool lease;       /* its lease runs, on the clock of this process */
    bool in_journal;  /* its answer is */
    bool broken       /* its journal could not take it */
#ifdef REVOCATION
    ;
    byte branches;    /* set of pairs that it has read */
    byte to_kill      /* and those that are left */
#endif
#if KILLS_BY_REUSE
    ;
    bool doubt;       /* as start returned it */
    bool undrained;
    bool serves
#endif
#if PROFILE == GRACE
    ;
    byte doubt_age
#endif
};
Process w[WORKERS];

#define OTHER(n) (1 - (n))
#define IN_FLIGHT(n) (w[n].at == SENT)

/* The claim number moves on: nobody's is the row's any longer. */
inline next_claim_no() {
    w[0].mine = false;
    w[1].mine = false;
    one_claim_no_more()
}

inline nobody_is_current() {
    w[0].current = false;
    w[1].current = false
}

inline forget_situation(n) {
#if KILLS_BY_REUSE
    w[n].doubt = false;
    w[n].undrained = false;
    w[n].serves = false;
#endif
#if PROFILE == GRACE
    w[n].doubt_age = 0;
#endif
    w[n].lease = false
}

/* The request has ended: what the guard asked for is asked for no more. */
inline has_ended(n, how) {
    forget_situation(n);
    w[n].at = how
}

/* A process forgets an attempt: what it would remember of it must not make two states of one. */
inline forget(n) {
    w[n].at = IDLE;
    w[n].generation = 0;
    w[n].token = 0;
    w[n].pair = 0;
#ifdef REVOCATION
    w[n].branches = 0;
    w[n].to_kill = 0;
#endif
    w[n].of_former = false;
    w[n].witnessed = false;
    w[n].mine = false;
    w[n].current = false;
    forget_situation(n);
    w[n].in_journal = false;
    w[n].broken = false;
    skip
}
