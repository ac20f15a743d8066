/* Traces as tests/model/traces wrote them: a line of numbers each. How many pairs came before, then event after event:
   what, whose, pair; and what the row holds after it. */
#include <stdio.h>
#include <stdlib.h>

#define ANY 7
#define NONE_TOLD 255
#define MOST_TRACES 1024
#define MOST_EVENTS 120

typedef struct {
    int what, who, which;                                                /* the event */
    int claim_no, generation, pair, status, claimed, started, doubt, suspect; /* the row after it */
    int attempt, asks_from, token, undrained, serves;                    /* the attempt, of a start or a request */
} Event;

static Event events[MOST_TRACES][MOST_EVENTS];
static int lengths[MOST_TRACES], before[MOST_TRACES], furthest[MOST_TRACES];
static int traces = 0;

static void tell(void)
{
    int each;
    for (each = 0; each < traces; each++)
        printf("trace %d: %d of %d\n", each, furthest[each], lengths[each]);
}

static int number(FILE *file)
{
    int value;
    if (fscanf(file, "%d", &value) != 1) {
        fprintf(stderr, "traces.txt ends too early\n");
        exit(3);
    }
    return value;
}

static void read_traces(void)
{
    FILE *file = fopen("traces.txt", "r");
    int each, place, member, count;
    if (!file) {
        fprintf(stderr, "traces.txt cannot be read\n");
        exit(3);
    }
    count = number(file);
    if (count > MOST_TRACES) {
        fprintf(stderr, "too many traces\n");
        exit(3);
    }
    for (each = 0; each < count; each++) {
        before[each] = number(file);
        lengths[each] = number(file);
        if (lengths[each] > MOST_EVENTS) {
            fprintf(stderr, "a trace is too long\n");
            exit(3);
        }
        for (place = 0; place < lengths[each]; place++)
            for (member = 0; member < (int) (sizeof(Event) / sizeof(int)); member++)
                ((int *) &events[each][place])[member] = number(file);
    }
    fclose(file);
    traces = count;
    atexit(tell);
}

static void begin(void)
{
    int pairs = before[now.the_trace];
    now.generation = pairs;
    now.pair = pairs;
    now.issued = pairs + 1;
    now.alive = 1 << pairs;
    now.recorded = (1 << (pairs + 1)) - 1;
    p = pairs;
}

static int is_at(Event *event)
{
    return event->what == seen && (event->who == ANY || event->who == seen_by) && event->which == seen_pair
        && event->claim_no == now.claim_no && event->generation == now.generation && (event->pair == ANY || event->pair == now.pair)
        && event->status == now.status && event->claimed == now.claimed && event->started == now.started
        && event->doubt == now.doubt && event->suspect == (now.refusals > 0);
}

/* What the process took along when it started. */
static int is_of(Event *event)
{
    if (event->attempt == NONE_TOLD)
        return 1;
    if (event->attempt != now.claim_of[seen_by] || event->asks_from != now.w[seen_by].generation)
        return 0;
    if (event->token != ANY && event->token != now.w[seen_by].token)
        return 0;
#ifdef GUARDS_THE_SPENT
    if (event->undrained != now.w[seen_by].undrained || event->serves != now.w[seen_by].serves)
        return 0;
#endif
    return 1;
}

static void compare(void)
{
    Event *event = &events[now.the_trace][now.place];
    if (!is_at(event) || !is_of(event)) {
        now.on_trace = 0;
        return;
    }
    now.place++;
    if (now.place > furthest[now.the_trace])
        furthest[now.the_trace] = now.place;
}
