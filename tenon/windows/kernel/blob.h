/* Reads an entity's blob (tenon/windows/blob.py describes it) into a room. Nothing in it is trusted. */
#ifndef TENON_BLOB_H
#define TENON_BLOB_H

#include "evaluate.h"

enum { BLOB_VERSION = 3, BLOB_HEADER = 32, ARRAY_HEADER = 16, BLOB_PUSHED = 1, BLOB_TEXTS = 4, BLOB_CHUNKS = 8 };

typedef struct { const uint8_t *at, *end; } Reader;

INLINE uint64_t read_number(const uint8_t *at, int bytes) {
    uint64_t number = 0;
    for (int i = bytes - 1; i >= 0; i--) number = number << 8 | at[i];
    return number;
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "items are read as they lie in the blob; without this kernel numpy computes the same numbers"
#endif

#define EACH_ITEM(type)                                                                                                \
    for (int64_t i = first; i < last; i++) {                                                                           \
        type item;                                                                                                     \
        memcpy(&item, reader->at + i * (int64_t)sizeof item, sizeof item);                                             \
        into[i] = (int64_t)(from + factor * item);                                                                     \
    }

/* The items first ... last - 1 of an array into int64; `same` says that all items are its base. Gives 0 when the bytes are
 * cut short or no array. */
static int read_array(Reader *reader, int64_t *into, int64_t count, int64_t first, int64_t last, int64_t *base, int *same) {
    if (reader->end - reader->at < ARRAY_HEADER) return 0;
    const int size = reader->at[0];
    const uint64_t from = read_number(reader->at + 8, 8), unit = read_number(reader->at + 1, 7);
    const uint64_t factor = unit ? unit : 1;
    const int64_t bytes = count * size, padded = (bytes + 7) / 8 * 8;
    reader->at += ARRAY_HEADER;
    *base = (int64_t)from;
    *same = size == 0;
    if (size == 0) return 1;
    if (reader->end - reader->at < padded) return 0;
    switch (size) {
    case 1: EACH_ITEM(uint8_t) break;
    case 2: EACH_ITEM(uint16_t) break;
    case 4: EACH_ITEM(uint32_t) break;
    case 8: EACH_ITEM(uint64_t) break;
    default: return 0;
    }
    reader->at += padded;
    return 1;
}

static int64_t *filled(int64_t *into, int64_t count, int64_t value) {
    for (int64_t i = 0; i < count; i++) into[i] = value;
    return into;
}

/* Differences are taken and added as unsigned, exact modulo 2^64. */
INLINE int64_t plus(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }

/* How long a value was believed: 0 for ever, else one more than the time since the event. NULL when all are for ever. */
static const int64_t *read_until(Reader *reader, int64_t *into, const History *history, int64_t first, int64_t last,
                                 int *fine) {
    int64_t base;
    int same;
    if (!(*fine = read_array(reader, into, history->events, first, last, &base, &same))) return NULL;
    if (same && base == 0) return NULL;
    if (same) filled(into, history->events, base);
    for (int64_t i = first; i < last; i++)
        into[i] = into[i] ? plus(plus(into[i], -1), history->time[i]) : INT64_MAX;
    return into;
}

/* From when on events can count at `at`. */
INLINE int64_t earliest(const Program *program, int64_t at) {
    return program->statics || !program->windows ? INT64_MIN : at - program->window[program->windows - 1];
}

/* Fills the history with the blob's events, of other columns than the times only what is at or after `from` and before `to`
 * (all, where `from` is int64's smallest). 0: fine, 1: the bytes are no blob of this view, -1: no memory. */
static int read_blob(const Program *program, Room *room, History *history, const uint8_t *data, int64_t length,
                     int64_t from, int64_t to, int64_t *horizon) {
    Reader reader = {data, data + length};
    int64_t base, first = 0, last, falling = 0;
    int same, fine;
    if (length < BLOB_HEADER || memcmp(data, "TNF", 3) || data[3] != BLOB_VERSION) return 1;
    const int64_t columns = (int64_t)read_number(data + 4, 2), events = (int64_t)read_number(data + 8, 4);
    const int64_t name = ((int64_t)read_number(data + 12, 4) + 7) / 8 * 8;
    *horizon = (int64_t)read_number(data + 24, 8);
    if (columns != program->columns - 1 || length - BLOB_HEADER < name) return 1;
    /* The texts stand at the end; values are places in them, which is all that matters here. So does what is said of chunks. */
    if (read_number(data + 6, 2) & (BLOB_TEXTS | BLOB_CHUNKS)) {
        const uint64_t texts = read_number(data + length - 8, 8);
        if (texts < 8 || texts > (uint64_t)(length - BLOB_HEADER - name)) return 1;
        reader.end -= texts;
    }
    reader.at += BLOB_HEADER + name;
    /* An item takes no byte when all are equal, so a short blob could claim many events: not more than fit a sane one. */
    if (events > 50000000) return 1;
    if (widen_room(room, program, events) < 0) return -1;
    history->events = events;
    history->time = room->time;
    history->column = room->values;
    memset(room->values, 0, (size_t)program->columns * sizeof(Values));
    if (!read_array(&reader, room->time, events, 0, events, &base, &same)) return 1;
    if (same) filled(room->time, events, base);
    for (int64_t i = 1; i < events; i++) falling |= room->time[i] < room->time[i - 1];
    if (falling) return 1;
    last = events;
    if (from != INT64_MIN) {
        first = first_from(room->time, events, from);
        last = first_from(room->time, events, to);
    }
    history->first = first;
    history->last = last;
    room->values[0].until = read_until(&reader, room_for(room, 0, 1), history, first, last, &fine);
    if (!fine) return 1;
    for (int32_t c = 1; c < program->columns; c++) {
        Values *values = &room->values[c];
        int64_t *known = room_for(room, c, 0), *value = room_for(room, c, 2);
        uint8_t *valid = room->valid + (size_t)c * (size_t)room->capacity;
        if (!read_array(&reader, known, events, first, last, &base, &same)) return 1;
        if (!same || base) {
            for (int64_t i = first; i < last; i++) known[i] = plus(same ? base : known[i], room->time[i]);
            values->known = known;
        }
        values->until = read_until(&reader, room_for(room, c, 1), history, first, last, &fine);
        if (!fine || !read_array(&reader, value, events, first, last, &base, &same)) return 1;
        if (!same || base) values->value = same ? filled(value, events, base) : value;
        /* Whether there is a value is one byte each; the array's items are read through `rows`, which is free now. */
        if (!read_array(&reader, room->gathered.rows, events, first, last, &base, &same)) return 1;
        if (!same || base != 1) {
            for (int64_t i = first; i < last; i++) valid[i] = (same ? base : room->gathered.rows[i]) != 0;
            values->valid = valid;
        }
    }
    /* Which events were pushed ahead of the table is for the store, not for values. */
    if (read_number(data + 6, 2) & BLOB_PUSHED && !read_array(&reader, room->gathered.rows, events, 0, 0, &base, &same))
        return 1;
    return reader.at == reader.end ? 0 : 1;
}

#endif
