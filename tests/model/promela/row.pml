/* The row in the database, and what stands beside it. Each statement on it is one step. */

#define ACTIVE 0
#define NEEDS_CONSENT 1
#define REVOKING 2
#define REVOKED 3

#define NO 0
#define YES 1
#define LONG_AGO 2 /* of 1970: a late token set was stored beside an attempt under way; nobody may start it */

#define SECOND_REFUSAL 2 /* of the grant's own token */

byte generation;
byte pair;                    /* the token set that the row holds */
byte former;                  /* set of pairs: predecessors and surplus */
byte tried;                   /* set of former pairs that were presented and refused */
byte status;
byte claimed;
bool started;                 /* an attempt that nobody has ended */
byte started_by = NOBODY;     /* the journal of its process; NOBODY: it is drained */
byte answer_of = NOBODY;      /* the pair that the started attempt has brought, if one */
bool lease = true;            /* due_at is to come */
bool doubt;
byte doubt_journals;          /* set of journals that may hold the answer; a drained one is none */
byte refusals;                /* 0: not suspect */
bool witnessed;               /* another grant was refreshed since it is suspect */
bool end_asked;               /* a revocation stands beside it */
#ifdef REVOCATION
bool ever_in_doubt;
bool end_queued;              /* there is something to do for it */
bool verified;
#endif
#if KILLS_BY_REUSE
bool serves = true;           /* its access token can be handed out */
#endif

#if PROFILE == GRACE
/* Ages of an attempt and of the doubt: 0 within the grace, 1 until twice the grace, 2 later. */
byte started_age;
byte doubt_age;
bool started_late;            /* the attempt began when its doubt was of age 2 */
#endif

/* Journals: what they hold by pair, for all processes. */
byte journaled;               /* set of pairs, fsynced and not marked as settled */
byte journal_of[PAIRS];
bool left_behind;             /* a process is gone, and nobody has drained its journal */

/* Ghosts: for the judge alone. */
byte recorded = 1;                /* set of pairs that a commit has stored or kept */
#if PROFILE == ON_USE
byte handed;                  /* set of pairs whose access token an application may hold */
#endif

#define HELD ((former | BIT(pair)))
#define IS_LEFT(q) ((journaled & BIT(q)) && journal_of[q] == LEFT) /* its process is gone, and its entry unsettled */
#define NOBODY_HAS_IT (claimed == NO && !started)
