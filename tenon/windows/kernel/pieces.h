/* Included by module.c: entities with so many events that they lie in pieces: a head, which has the newest, and chunks. Of
 * a chunk that every window covers wholly or not at all, its tile is enough: what `Gathered` has of all its events. */

/* Functions whose values cannot be put together from those of parts keep an entity in one piece. */
static int in_pieces(const Program *program) {
    for (int32_t c = 0; c < program->columns; c++)
        if (program->column[c].needs & ROWS) return 0;
    return 1;
}

static int adds_floats(const Program *program) {
    for (int32_t c = 0; c < program->columns; c++)
        if (program->column[c].needs & EXACT) return 1;
    return 0;
}

/* How many numbers a column adds to a tile. Where floats are added, the first number of all says whether their sums fit in. */
static int64_t tile_numbers(const Column *column) {
    const int needs = column->needs;
    if (!column->features) return 0;
    return 2 + (needs & TOTAL ? 2 : 0) + (needs & SQUARES ? 3 : 0) + (needs & EXTREMES ? 2 : 0) +
           (needs & (OLDEST | NEWEST) ? 6 : 0) + column->thresholds + (needs & EXACT ? 1 + PACKED_SUM / 2 : 0) +
           (needs & EXACT_SQUARES ? 1 + PACKED_SQUARES / 2 : 0) + (column->statics ? 4 : 0);
}

static int64_t all_tile_numbers(const Program *program) {
    int64_t numbers = adds_floats(program);
    for (int32_t c = 0; c < program->columns; c++) numbers += tile_numbers(&program->column[c]);
    return numbers;
}

static int64_t *put_moment(int64_t *into, const Moment *moment) {
    *into++ = moment->time;
    *into++ = moment->known;
    *into++ = moment->value;
    return into;
}

static const int64_t *take_moment(const int64_t *from, Moment *moment) {
    *moment = (Moment){from[0], from[1], from[2]};
    return from + 3;
}

static int64_t *put_tile(int64_t *into, const Column *column, const Gathered *gathered, int *fits) {
    const int needs = column->needs;
    *into++ = gathered->count;
    *into++ = gathered->known;
    if (needs & TOTAL) {
        *into++ = (int64_t)(uint64_t)(u128)gathered->total;
        *into++ = (int64_t)(uint64_t)((u128)gathered->total >> 64);
    }
    if (needs & SQUARES) {
        *into++ = (int64_t)(uint64_t)gathered->squares.low;
        *into++ = (int64_t)(uint64_t)(gathered->squares.low >> 64);
        *into++ = (int64_t)gathered->squares.high;
    }
    if (needs & EXTREMES) {
        *into++ = gathered->low;
        *into++ = gathered->high;
    }
    if (needs & (OLDEST | NEWEST)) into = put_moment(put_moment(into, &gathered->oldest), &gathered->newest);
    for (int32_t i = 0; i < column->thresholds; i++) *into++ = gathered->above[i];
    const Exact *exact = &gathered->exact;
    if (needs & EXACT) {
        *fits &= pack_digits(into, exact->sum, exact->low, exact->digits, PACKED_SUM, SUM_DIGITS);
        into += 1 + PACKED_SUM / 2;
    }
    if (needs & EXACT_SQUARES) {
        *fits &= pack_digits(into, exact->squares, 2 * exact->low, exact->square_digits, PACKED_SQUARES, SQUARE_DIGITS);
        into += 1 + PACKED_SQUARES / 2;
    }
    return into;
}

/* `above` and the sums of floats, which stay packed, point into the tile. */
static const int64_t *take_tile(const int64_t *from, const Column *column, Gathered *gathered) {
    const int needs = column->needs;
    gathered->count = *from++;
    gathered->known = *from++;
    if (needs & TOTAL) {
        gathered->total = (i128)((u128)(uint64_t)from[1] << 64 | (uint64_t)from[0]);
        from += 2;
    }
    if (needs & SQUARES) {
        gathered->squares.low = (u128)(uint64_t)from[1] << 64 | (uint64_t)from[0];
        gathered->squares.high = (uint64_t)from[2];
        from += 3;
    }
    if (needs & EXTREMES) {
        gathered->low = from[0];
        gathered->high = from[1];
        from += 2;
    }
    if (needs & (OLDEST | NEWEST)) from = take_moment(take_moment(from, &gathered->oldest), &gathered->newest);
    gathered->above = (int64_t *)from;
    from += column->thresholds;
    gathered->exact.sum = (int64_t *)from;
    from += needs & EXACT ? 1 + PACKED_SUM / 2 : 0;
    gathered->exact.squares = (int64_t *)from;
    return from + (needs & EXACT_SQUARES ? 1 + PACKED_SQUARES / 2 : 0);
}

/* What both gathered, of different events. 0: what is `packed` is nothing that was. */
static int join_gathered(Gathered *into, const Column *column, const Gathered *more, int packed) {
    const int needs = column->needs;
    if (!more->count) return 1;
    if (needs & (OLDEST | NEWEST)) {
        if (!into->count || earlier(&more->oldest, &into->oldest)) into->oldest = more->oldest;
        if (!into->count || earlier(&into->newest, &more->newest)) into->newest = more->newest;
    }
    into->count = plus(into->count, more->count);
    if (more->known > into->known) into->known = more->known;
    if (needs & TOTAL) into->total = (i128)((u128)into->total + (u128)more->total);
    if (needs & SQUARES) add_squares(&into->squares, &more->squares);
    if (needs & EXTREMES) {
        if (more->low < into->low) into->low = more->low;
        if (more->high > into->high) into->high = more->high;
    }
    for (int32_t i = 0; i < column->thresholds; i++) into->above[i] = plus(into->above[i], more->above[i]);
    if (packed)
        return (!(needs & EXACT) || add_packed(into->exact.sum, more->exact.sum, PACKED_SUM, SUM_DIGITS)) &&
               (!(needs & EXACT_SQUARES) || add_packed(into->exact.squares, more->exact.squares, PACKED_SQUARES, SQUARE_DIGITS));
    for (int32_t i = 0; needs & EXACT && i < SUM_DIGITS; i++) into->exact.sum[i] += more->exact.sum[i];
    for (int32_t i = 0; needs & EXACT_SQUARES && i < SQUARE_DIGITS; i++) into->exact.squares[i] += more->exact.squares[i];
    return 1;
}

/* tile_numbers(): how many numbers a tile has. */
static PyObject *tile_numbers_of(PyObject *object, PyObject *none) {
    (void)none;
    return PyLong_FromSize_t((size_t)all_tile_numbers(&((Object *)object)->program));
}

/* tile(blob): the numbers of all events of a chunk, as at a time when all of their values are known and all corrections are
 * made. Raises ValueError for bytes that are no blob of this view, and for a view whose entities stay in one piece. */
static PyObject *tile(PyObject *object, PyObject *args) {
    const Program *program = &((Object *)object)->program;
    PyObject *part, *made = NULL;
    Py_buffer view;
    Room room;
    History history;
    int64_t horizon;
    if (!PyArg_ParseTuple(args, "O", &part)) return NULL;
    if (!in_pieces(program)) return refuse("this view's entities stay in one piece"), NULL;
    if (take(part, &view, 1, -1, 0) < 0) return NULL;
    if (make_room(&room, program) < 0) {
        PyBuffer_Release(&view);
        return refuse(""), NULL;
    }
    const int problem = read_blob(program, &room, &history, view.buf, view.len, INT64_MIN, INT64_MAX, &horizon);
    const int64_t numbers = all_tile_numbers(program);
    int64_t *whole = problem ? NULL : malloc((size_t)numbers * sizeof(int64_t) + 8), *into = whole;
    if (problem > 0) refuse("the bytes are no blob of this view");
    else if (!whole) refuse("");
    else {
        int fits = 1;
        into += adds_floats(program);
        for (int32_t c = 0; c < program->columns; c++) {
            const Column *column = &program->column[c];
            if (!column->features) continue;
            if (column->needs & EXACT) span_digits(&room.gathered.exact, &history, &history.column[c]);
            room.gathered.oldest = room.gathered.newest = (Moment){0, 0, 0};
            begin(&room.gathered, column);
            scan(&room.gathered, column, &history, &history.column[c], 0, history.events, INT64_MAX);
            into = put_tile(into, column, &room.gathered, &fits);
            if (column->statics) {
                Moment newest = {0, 0, 0};
                *into++ = static_moment(&history, &history.column[c], &newest);
                into = put_moment(into, &newest);
            }
        }
        if (adds_floats(program)) *whole = fits;
        made = PyBytes_FromStringAndSize((const char *)whole, (Py_ssize_t)(numbers * 8));
    }
    free(whole);
    free_room(&room);
    PyBuffer_Release(&view);
    return made;
}

/* What each column gathers over each window and no shorter one, and the newest moment of values that never change (known:
 * whether there is one). */
typedef struct { Gathered *ring; int64_t *above, *digits; Moment *still; uint8_t *known; } Rings;

static void all_digits(Exact *exact) {
    exact->low = 0;
    exact->digits = SUM_DIGITS;
    exact->square_digits = SQUARE_DIGITS;
}

static int make_rings(Rings *rings, const Program *program) {
    int64_t above = 1, next = 0, digits = 1, next_digit = 0;
    for (int32_t c = 0; c < program->columns; c++) {
        above += (int64_t)program->column[c].thresholds * program->windows;
        digits += program->column[c].needs & EXACT ? (int64_t)(SUM_DIGITS + SQUARE_DIGITS) * program->windows : 0;
    }
    rings->ring = calloc((size_t)program->columns * (size_t)program->windows + 1, sizeof(Gathered));
    rings->above = calloc((size_t)above, sizeof(int64_t));
    rings->digits = calloc((size_t)digits, sizeof(int64_t));
    rings->still = calloc((size_t)program->columns, sizeof(Moment));
    rings->known = calloc((size_t)program->columns, 1);
    if (!rings->ring || !rings->above || !rings->digits || !rings->still || !rings->known) return -1;
    for (int32_t c = 0; c < program->columns; c++)
        for (int32_t w = 0; w < program->windows; w++) {
            Gathered *ring = &rings->ring[(int64_t)c * program->windows + w];
            ring->above = rings->above + next;
            next += program->column[c].thresholds;
            if (program->column[c].needs & EXACT) {
                all_digits(&ring->exact);
                ring->exact.sum = rings->digits + next_digit;
                ring->exact.squares = ring->exact.sum + SUM_DIGITS;
                next_digit += SUM_DIGITS + SQUARE_DIGITS;
            }
            begin(ring, &program->column[c]);
        }
    return 0;
}

static void add_still(Rings *rings, int32_t column, const Moment *moment) {
    if (!rings->known[column] || earlier(&rings->still[column], moment)) rings->still[column] = *moment;
    rings->known[column] = 1;
}

static void gather_piece(Rings *rings, const Program *program, const History *history, int64_t at) {
    for (int32_t c = 0; c < program->columns; c++) {
        const Column *column = &program->column[c];
        int64_t done = first_from(history->time, history->events, at);
        if (!column->features) continue;
        for (int32_t w = 0; w <= column->longest; w++) {
            const int64_t start = first_from(history->time, history->events, at - program->window[w]);
            scan(&rings->ring[(int64_t)c * program->windows + w], column, history, &history->column[c], start, done, at);
            done = start < done ? start : done;
        }
    }
}

/* The tile of a chunk whose first event is at `first`, if it is `used`, goes to the shortest window that has it; values that
 * never change are taken from every tile. 0: it tells of events that no window has. */
static int gather_tile(Rings *rings, const Program *program, const int64_t *tile, int64_t first, int used, int64_t at) {
    int32_t w = 0;
    while (w < program->windows && first < at - program->window[w]) w++;
    if (used && (w == program->windows || (adds_floats(program) && !*tile))) return 0;
    tile += adds_floats(program);
    for (int32_t c = 0; c < program->columns; c++) {
        const Column *column = &program->column[c];
        Gathered more;
        if (!column->features) continue;
        memset(&more, 0, sizeof more);
        tile = take_tile(tile, column, &more);
        if (used) {
            if (more.count < 0) return 0;
            if (more.count && column->needs & (OLDEST | NEWEST) &&
                (more.oldest.time < first || more.newest.time < more.oldest.time || more.newest.time >= at))
                return 0;
            if (!join_gathered(&rings->ring[(int64_t)c * program->windows + w], column, &more, 1)) return 0;
        }
        if (column->statics) {
            Moment newest;
            const int64_t there = *tile;
            tile = take_moment(tile + 1, &newest);
            if (there) add_still(rings, c, &newest);
        }
    }
    return 1;
}

static void finish_rings(const Rings *rings, const Program *program, Gathered *whole, int64_t at, double *out, int64_t *known) {
    for (int32_t c = 0; c < program->columns; c++) {
        const Column *column = &program->column[c];
        const Feature *feature = program->feature + column->first_feature, *after = feature + column->features;
        int32_t w = 0;
        if (!column->features) continue;
        all_digits(&whole->exact);
        begin(whole, column);
        for (; feature < after; feature++) {
            if (feature->function == STATIC) {
                out[feature->place] = rings->known[c] ? in_units(feature, rings->still[c].value) : NAN;
                continue;
            }
            for (; w <= feature->window; w++)
                join_gathered(whole, column, &rings->ring[(int64_t)c * program->windows + w], 0);
            const Exact exact = whole->exact;
            if (column->needs & EXACT) whole->exact = trimmed(&exact, column->needs & EXACT_SQUARES);
            out[feature->place] = finish(feature, whole, at);
            whole->exact = exact;
        }
        if (whole->known > *known) *known = whole->known;
    }
}

/* look_up_pieces(data, spans, tiles, firsts, used, at, out, statuses, known): one row, of an entity in pieces. `spans` say
 * where in the data its head lies and then the chunks that are looked at event by event; of all chunks `tiles` has the
 * numbers and `firsts` the first event's time. A tile is `used` where each of its events counts at `at` or never will, and every
 * window covers all of them or none. Raises ValueError as `look_up` does. */
static PyObject *look_up_pieces(PyObject *object, PyObject *args) {
    enum { DATA, SPANS, TILES, FIRSTS, USED, AT, OUT, STATUSES, KNOWN, PARTS };
    const Program *program = &((Object *)object)->program;
    PyObject *part[PARTS];
    Py_buffer view[PARTS];
    Room room = {0};
    Rings rings = {NULL, NULL, NULL, NULL, NULL};
    int held = 0, status = -1;
    if (!PyArg_ParseTuple(args, "OOOOOOOOO", &part[0], &part[1], &part[2], &part[3], &part[4], &part[5], &part[6], &part[7],
                          &part[8]))
        return NULL;
    for (; held < PARTS; held++)
        if (take(part[held], &view[held], held == DATA || held == USED || held == STATUSES ? 1 : 8,
                 held <= USED ? -1 : held == AT || held == KNOWN ? 1 : program->places, held < OUT ? 0 : PyBUF_WRITABLE) < 0)
            goto done;
    {
        const uint8_t *data = view[DATA].buf, *used = view[USED].buf;
        const int64_t *span = view[SPANS].buf, *tiles = view[TILES].buf, *first = view[FIRSTS].buf, at = *(int64_t *)view[AT].buf;
        const int64_t size = view[DATA].len, pieces = view[SPANS].len / 16, width = all_tile_numbers(program);
        double *out = view[OUT].buf;
        uint8_t *statuses = view[STATUSES].buf;
        int64_t *known = view[KNOWN].buf, horizon = INT64_MIN, other;
        History history;
        const int64_t chunks = view[FIRSTS].len / 8;
        if (!in_pieces(program) || view[TILES].len / 8 != chunks * width || view[USED].len != chunks || (chunks && !pieces)) {
            refuse("the tiles are not of this view");
            goto done;
        }
        if (make_room(&room, program) < 0 || make_rings(&rings, program) < 0) {
            refuse("");
            goto done;
        }
        status = 0;
        answer_nothing(program, out, 1, 0);
        *known = INT64_MIN;
        for (int64_t i = 0; i < pieces && !status; i++) {
            if (span[2 * i] < 0 || span[2 * i + 1] < 0 || span[2 * i] > size || span[2 * i + 1] > size - span[2 * i]) status = 2;
            else
                /* What never changes is in the tiles of all chunks. */
                status = read_blob(program, &room, &history, data + span[2 * i], span[2 * i + 1],
                                   i && program->windows ? at - program->window[program->windows - 1] : earliest(program, at), at,
                                   i ? &other : &horizon);
            if (!status) gather_piece(&rings, program, &history, at);
            for (int32_t c = 0; !i && !status && c < program->columns; c++) {
                Moment newest;
                if (program->column[c].statics && static_moment(&history, &history.column[c], &newest))
                    add_still(&rings, c, &newest);
            }
        }
        if (!status && at >= horizon) {
            for (int64_t i = 0; i < chunks && !status; i++)
                if ((used[i] || program->statics) && !gather_tile(&rings, program, tiles + i * width, first[i], used[i], at))
                    status = 3;
            finish_rings(&rings, program, &room.gathered, at, out, known);
            finish_expressions(program, out, 1, 0);
        }
        for (int32_t place = 0; place < program->places; place++) {
            if (at < horizon) out[place] = NAN;
            statuses[place] = at < horizon ? BEFORE_HORIZON : isnan(out[place]) ? MISSING : PRESENT;
        }
        if (status == 1) refuse("the bytes are no blob of this view");
        if (status == 2) refuse("a blob is not in the data");
        if (status == 3) refuse("a tile tells of events that no window has");
        if (status == -1) refuse("");
    }
done:
    free(rings.ring);
    free(rings.above);
    free(rings.digits);
    free(rings.still);
    free(rings.known);
    if (room.values) free_room(&room);
    while (held) PyBuffer_Release(&view[--held]);
    if (status) return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}
