/* All features of a view, for the requests of one entity after the other. */
#ifndef TENON_EVALUATE_H
#define TENON_EVALUATE_H

#include "tree.h"

/* Memory that grows with the largest entity seen. */
typedef struct {
    int64_t capacity, rows, windows, above;
    int64_t *time, *columns; /* columns: known, until, value of each, one after the other */
    uint8_t *valid;
    Values *values;
    int64_t *position; /* of each window's start, going forward with the requests */
    Gathered gathered;
} Room;

static void free_room(Room *room) {
    free(room->time);
    free(room->columns);
    free(room->valid);
    free(room->values);
    free(room->position);
    free(room->gathered.above);
    free(room->gathered.rows);
    free(room->gathered.exact.sum);
    memset(room, 0, sizeof *room);
}

static int make_room(Room *room, const Program *program) {
    size_t above = 1;
    memset(room, 0, sizeof *room);
    for (int32_t i = 0; i < program->columns; i++)
        if ((size_t)program->column[i].thresholds > above) above = (size_t)program->column[i].thresholds;
    room->values = calloc((size_t)program->columns, sizeof(Values));
    room->position = calloc((size_t)program->windows + 1, sizeof(int64_t));
    room->gathered.above = calloc(above, sizeof(int64_t));
    room->gathered.exact.sum = calloc(SUM_DIGITS + SQUARE_DIGITS, sizeof(int64_t));
    room->gathered.exact.squares = room->gathered.exact.sum + SUM_DIGITS;
    if (room->values && room->position && room->gathered.above && room->gathered.exact.sum) return 0;
    free_room(room);
    return -1;
}

/* Room for an entity of so many events; what was in it is lost. */
static int widen_room(Room *room, const Program *program, int64_t events) {
    const size_t columns = (size_t)program->columns;
    int64_t capacity = 64;
    if (events <= room->capacity) return 0;
    while (capacity < events) capacity *= 2;
    free(room->time);
    free(room->columns);
    free(room->valid);
    free(room->gathered.rows);
    room->time = malloc((size_t)capacity * sizeof(int64_t));
    room->columns = malloc(3 * columns * (size_t)capacity * sizeof(int64_t));
    room->valid = malloc(columns * (size_t)capacity);
    room->gathered.rows = malloc((size_t)capacity * sizeof(int64_t));
    room->capacity = room->time && room->columns && room->valid && room->gathered.rows ? capacity : 0;
    return room->capacity ? 0 : -1;
}

INLINE int64_t *room_for(const Room *room, int32_t column, int which) {
    return room->columns + (3 * (size_t)column + (size_t)which) * (size_t)room->capacity;
}

/* The first position from `position` on whose time is not before `at`; near ones are found in a few steps. */
INLINE int64_t advance(const int64_t *time, int64_t events, int64_t position, int64_t at) {
    int64_t step = 1, low = position, high;
    if (position >= events || time[position] >= at) return position;
    while (low + step < events && time[low + step] < at) {
        low += step;
        step *= 2;
    }
    high = low + step < events ? low + step : events;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (time[middle] < at) low = middle;
        else high = middle;
    }
    return high;
}

/* Whether a tree is worth its making: `times` ascend. */
static int wants_tree(const Column *column, const Program *program, const History *history, const int64_t *times,
                      int64_t requests) {
    int64_t seen = 0, samples = 0;
    const int64_t window = column->longest < 0 ? 0 : program->window[column->longest];
    if (column->needs & ROWS || column->longest < 0 || requests < 4 || history->events < 8 * BLOCK) return 0;
    for (int64_t i = 0; i < requests; i += (requests + 7) / 8, samples++) {
        const int64_t start = first_from(history->time, history->events, times[i] - window);
        seen += first_from(history->time, history->events, times[i]) - start;
    }
    return seen / samples * requests > 8 * history->events + 64 * column->features * requests;
}

/* One entity: answers into out[place * stride + slot[i]] for the times in ascending order. `known`, where wanted: when
 * the newest value that counts for any feature was known. Gives -1 when there is no memory. */
static int evaluate_entity(const Program *program, Room *room, const History *history, const int64_t *times,
                           const int64_t *slot, int64_t requests, double *out, int64_t stride, int64_t *known) {
    Gathered *gathered = &room->gathered;
    for (int32_t c = 0; c < program->columns; c++) {
        const Column *column = &program->column[c];
        const Values *values = &history->column[c];
        const Feature *feature = program->feature + column->first_feature;
        Tree tree = {0};
        int has_tree = 0;
        int64_t end = 0;
        if (!column->features) continue;
        for (; feature < program->feature + column->first_feature + column->statics; feature++) {
            const double value = static_value(feature, history, values);
            for (int64_t i = 0; i < requests; i++) out[feature->place * stride + slot[i]] = value;
        }
        if (column->statics == column->features) continue;
        if (column->needs & EXACT) span_digits(&gathered->exact, history, values);
        if (!known && wants_tree(column, program, history, times, requests)) {
            if (make_tree(&tree, column, history, values, &gathered->exact) < 0) return -1;
            has_tree = 1;
        }
        memset(room->position, 0, (size_t)program->windows * sizeof(int64_t));
        for (int64_t i = 0; i < requests; i++) {
            const int64_t at = times[i];
            const Feature *f = feature, *after = program->feature + column->first_feature + column->features;
            int64_t done = end = advance(history->time, history->events, end, at);
            if (has_tree) move_to(&tree, column, history, values, at);
            begin(gathered, column);
            while (f < after) {
                const int32_t window = f->window;
                int64_t *start = &room->position[window];
                *start = advance(history->time, history->events, *start, at - program->window[window]);
                gather(gathered, has_tree ? &tree : NULL, column, history, values, *start, done, at);
                done = *start < done ? *start : done;
                for (; f < after && f->window == window; f++) out[f->place * stride + slot[i]] = finish(f, gathered, at);
            }
            if (known && gathered->known > known[slot[i]]) known[slot[i]] = gathered->known;
        }
        if (has_tree) free_tree(&tree);
    }
    return 0;
}

/* What a request has without any history. */
static void answer_nothing(const Program *program, double *out, int64_t stride, int64_t slot) {
    for (int32_t place = 0; place < program->places; place++)
        out[place * stride + slot] = program->is_count[place] ? 0.0 : NAN;
}

static void finish_expressions(const Program *program, double *out, int64_t stride, int64_t slot) {
    for (int32_t i = 0; i < program->expressions; i++) {
        const Expression *expression = &program->expression[i];
        out[expression->place * stride + slot] = run_expression(program, expression, out + slot, stride);
    }
}

#endif
