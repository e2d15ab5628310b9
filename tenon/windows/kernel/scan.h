/* What counts of an entity's events at a time, gathered by looking at each: the definition, and the fast way for few.
 *
 * A value of an event at e, known at k and believed until u, counts at t over a window w iff
 *
 *     k < t <= u  and  t - w <= e < t        (k >= e always, so e < t follows)
 *
 * All windows end at t: they are gathered from the shortest to the longest, each adding what is older. */
#ifndef TENON_SCAN_H
#define TENON_SCAN_H

#include "exact.h"
#include "program.h"
#include "wide.h"

#define INLINE static inline __attribute__((always_inline))

/* One entity's events in the order of event time. A NULL array: known = event time, until = never, all valid, all 0. Of the
 * columns only the events first ... last - 1 are there. */
typedef struct { const int64_t *known, *until, *value; const uint8_t *valid; } Values;
typedef struct { int64_t events, first, last; const int64_t *time; Values *column; } History;

typedef struct { int64_t time, known, value; } Moment;

/* Moments are ordered by event time, then by when they were known, then by value: so ties have one answer. */
INLINE int earlier(const Moment *a, const Moment *b) {
    if (a->time != b->time) return a->time < b->time;
    if (a->known != b->known) return a->known < b->known;
    return a->value < b->value;
}

typedef struct {
    int64_t count, low, high, known;
    i128 total;
    Squares squares;
    Moment oldest, newest;
    int64_t *above; /* one counter for each threshold */
    int64_t *rows, rows_count, rows_sorted; /* the values themselves */
    Exact exact;
} Gathered;

INLINE void gather_value(Gathered *into, const Column *column, int needs, int64_t time, int64_t known, int64_t value) {
    into->count++;
    if (known > into->known) into->known = known;
    if (needs & TOTAL) into->total += value;
    if (needs & SQUARES) add_square(&into->squares, value);
    if (needs & EXACT) add_exactly(into->exact.sum, into->exact.low, value, 1);
    if (needs & EXACT_SQUARES) add_square_exactly(into->exact.squares, into->exact.low, value, 1);
    if (needs & EXTREMES) {
        if (value < into->low) into->low = value;
        if (value > into->high) into->high = value;
    }
    if (needs & ABOVE)
        for (int32_t i = 0; i < column->thresholds; i++) into->above[i] += value > column->threshold[i];
    if (needs & ROWS) into->rows[into->rows_count++] = value;
    if (needs & (OLDEST | NEWEST)) {
        const Moment moment = {time, known, value};
        if (into->count == 1 || earlier(&moment, &into->oldest)) into->oldest = moment;
        if (into->count == 1 || earlier(&into->newest, &moment)) into->newest = moment;
    }
}

INLINE int is_counted(const Values *values, int64_t i, int64_t at) {
    return (!values->valid || values->valid[i]) && (!values->known || values->known[i] < at) &&
           (!values->until || at <= values->until[i]);
}

INLINE void scan_as(Gathered *into, const Column *column, const History *history, const Values *values, int needs,
                    int plain, int64_t start, int64_t end, int64_t at) {
    for (int64_t i = end - 1; i >= start; i--) {
        if (!plain && !is_counted(values, i, at)) continue;
        const int64_t time = history->time[i];
        gather_value(into, column, needs, time, plain || !values->known ? time : values->known[i],
                     values->value ? values->value[i] : 0);
    }
}

/* Add the events start ... end - 1, which are all before `at`. */
static void scan(Gathered *into, const Column *column, const History *history, const Values *values, int64_t start,
                 int64_t end, int64_t at) {
    const int plain = !values->valid && !values->known && !values->until;
    if (start >= end) return;
    if (plain && !column->needs) {
        into->count += end - start;
        if (history->time[end - 1] > into->known) into->known = history->time[end - 1];
        return;
    }
    switch (column->needs) { /* the usual ones, each compiled for itself */
    case 0: scan_as(into, column, history, values, 0, 0, start, end, at); return;
    case TOTAL:
        if (plain) scan_as(into, column, history, values, TOTAL, 1, start, end, at);
        else scan_as(into, column, history, values, TOTAL, 0, start, end, at);
        return;
    case TOTAL | EXTREMES:
        if (plain) scan_as(into, column, history, values, TOTAL | EXTREMES, 1, start, end, at);
        else scan_as(into, column, history, values, TOTAL | EXTREMES, 0, start, end, at);
        return;
    default:
        if (plain) scan_as(into, column, history, values, column->needs, 1, start, end, at);
        else scan_as(into, column, history, values, column->needs, 0, start, end, at);
    }
}

static int by_value(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void sort_rows(Gathered *gathered) {
    if (gathered->rows_sorted == gathered->rows_count) return;
    qsort(gathered->rows, (size_t)gathered->rows_count, sizeof(int64_t), by_value);
    gathered->rows_sorted = gathered->rows_count;
}

INLINE double in_units(const Feature *feature, int64_t value) {
    return feature->unit == 0 ? key_to_double(value) : (double)value / feature->unit;
}

static double finish_floats(const Feature *feature, const Gathered *gathered) {
    const double count = (double)gathered->count;
    if (feature->function == STD) return gathered->count < 2 ? NAN : kept(exact_deviation(&gathered->exact, gathered->count));
    const double sum = kept(exact_sum(&gathered->exact));
    return feature->function == SUM ? sum : sum / count;
}

/* From exact integers to a double: the one place where anything is rounded, offline and online. */
static double finish(const Feature *feature, Gathered *gathered, int64_t at) {
    const int64_t count = gathered->count;
    int64_t different = 0;
    switch (feature->function) {
    case COUNT: return (double)count;
    case DISTINCT:
        sort_rows(gathered);
        for (int64_t i = 0; i < count; i++) different += i == 0 || gathered->rows[i] != gathered->rows[i - 1];
        return (double)different;
    default: break;
    }
    if (!count) return NAN;
    if (feature->unit == 0 && (feature->function == SUM || feature->function == MEAN || feature->function == STD))
        return finish_floats(feature, gathered);
    switch (feature->function) {
    case SUM: return (double)gathered->total / feature->unit;
    case MEAN: return (double)gathered->total / ((double)count * feature->unit);
    case STD: return count < 2 ? NAN : sample_deviation(count, gathered->total, &gathered->squares) / feature->unit;
    case MIN: return in_units(feature, gathered->low);
    case MAX: return in_units(feature, gathered->high);
    case FIRST: return in_units(feature, gathered->oldest.value);
    case LAST: return in_units(feature, gathered->newest.value);
    case RATE: return (double)gathered->above[feature->threshold] / (double)count;
    case SINCE_LAST: return (double)(at - gathered->newest.time) / 1e6;
    default: { /* QUANTILE: the smallest value that at least p/d of all are not above */
        const i128 rank = ((i128)count * feature->p + feature->d - 1) / feature->d;
        sort_rows(gathered);
        return in_units(feature, gathered->rows[rank < 1 ? 0 : (int64_t)rank - 1]);
    }
    }
}

static void begin(Gathered *gathered, const Column *column) {
    gathered->count = gathered->rows_count = gathered->rows_sorted = 0;
    gathered->low = INT64_MAX;
    gathered->high = gathered->known = INT64_MIN;
    gathered->total = 0;
    gathered->squares.low = gathered->squares.high = 0;
    if (column->thresholds) memset(gathered->above, 0, (size_t)column->thresholds * sizeof(int64_t));
    if (column->needs & EXACT) memset(gathered->exact.sum, 0, (size_t)gathered->exact.digits * sizeof(int64_t));
    if (column->needs & EXACT_SQUARES)
        memset(gathered->exact.squares, 0, (size_t)gathered->exact.square_digits * sizeof(int64_t));
}

/* How wide the sums of an entity's values have to be. */
static void span_digits(Exact *exact, const History *history, const Values *values) {
    int least = 2046, most = 0, shift;
    for (int64_t i = history->first; i < history->last; i++) {
        if (!values->value || (values->valid && !values->valid[i]) || !split_key(values->value[i], &shift)) continue;
        if (shift < least) least = shift;
        if (shift > most) most = shift;
    }
    exact->low = least <= most ? least >> 5 : 0;
    exact->digits = (most >> 5) - exact->low + 5;
    exact->square_digits = (2 * most >> 5) - 2 * exact->low + 7;
}

/* The position of the first event at or after `at`, looking from a guess on. */
static int64_t first_from(const int64_t *time, int64_t events, int64_t at) {
    int64_t low = 0, high = events;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (time[middle] < at) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The event of the value that never changes: the newest of all that are not missing, whatever the time. 0: there is none. */
static int static_moment(const History *history, const Values *values, Moment *newest) {
    int found = 0;
    for (int64_t i = history->events - 1; i >= 0; i--) {
        if (found && history->time[i] < newest->time) break;
        if (values->valid && !values->valid[i]) continue;
        if (values->until && values->until[i] != INT64_MAX) continue;
        const Moment moment = {history->time[i], values->known ? values->known[i] : history->time[i],
                               values->value ? values->value[i] : 0};
        if (!found || earlier(newest, &moment)) *newest = moment;
        found = 1;
    }
    return found;
}

static double static_value(const Feature *feature, const History *history, const Values *values) {
    Moment newest;
    return static_moment(history, values, &newest) ? in_units(feature, newest.value) : NAN;
}

#endif
