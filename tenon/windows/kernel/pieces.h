/* Included by module.c: entities with so many events that they lie in pieces: a head, which has the newest, and chunks. Of
 * a chunk that every window covers wholly or not at all, its tile is enough: what `Gathered` has of all its events. */

/* Functions whose values cannot be put together from those of parts keep an entity in one piece. */
static int in_pieces(const Program *program) {
    if (program->statics) return 0;
    for (int32_t c = 0; c < program->columns; c++)
        if (program->column[c].needs & (ROWS | EXACT | EXACT_SQUARES)) return 0;
    return 1;
}

/* How many numbers a column adds to a tile. */
static int64_t tile_numbers(const Column *column) {
    const int needs = column->needs;
    if (!column->features) return 0;
    return 2 + (needs & TOTAL ? 2 : 0) + (needs & SQUARES ? 3 : 0) + (needs & EXTREMES ? 2 : 0) +
           (needs & (OLDEST | NEWEST) ? 6 : 0) + column->thresholds;
}

static int64_t all_tile_numbers(const Program *program) {
    int64_t numbers = 0;
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

static int64_t *put_tile(int64_t *into, const Column *column, const Gathered *gathered) {
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
    return into;
}

/* `above` of what is taken points into the tile. */
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
    return from + column->thresholds;
}

/* What both gathered, of different events. */
static void join_gathered(Gathered *into, const Column *column, const Gathered *more) {
    const int needs = column->needs;
    if (!more->count) return;
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
        for (int32_t c = 0; c < program->columns; c++) {
            const Column *column = &program->column[c];
            if (!column->features) continue;
            room.gathered.oldest = room.gathered.newest = (Moment){0, 0, 0};
            begin(&room.gathered, column);
            scan(&room.gathered, column, &history, &history.column[c], 0, history.events, INT64_MAX);
            into = put_tile(into, column, &room.gathered);
        }
        made = PyBytes_FromStringAndSize((const char *)whole, (Py_ssize_t)(numbers * 8));
    }
    free(whole);
    free_room(&room);
    PyBuffer_Release(&view);
    return made;
}

/* What each column gathers over each window and no shorter one. */
typedef struct { Gathered *ring; int64_t *above; } Rings;

static int make_rings(Rings *rings, const Program *program) {
    int64_t above = 1, next = 0;
    for (int32_t c = 0; c < program->columns; c++) above += (int64_t)program->column[c].thresholds * program->windows;
    rings->ring = calloc((size_t)program->columns * (size_t)program->windows + 1, sizeof(Gathered));
    rings->above = calloc((size_t)above, sizeof(int64_t));
    if (!rings->ring || !rings->above) return -1;
    for (int32_t c = 0; c < program->columns; c++)
        for (int32_t w = 0; w < program->windows; w++) {
            Gathered *ring = &rings->ring[(int64_t)c * program->windows + w];
            ring->above = rings->above + next;
            next += program->column[c].thresholds;
            begin(ring, &program->column[c]);
        }
    return 0;
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

/* The tile of a chunk whose first event is at `first` goes to the shortest window that has it. 0: it tells of events that no
 * window has. */
static int gather_tile(Rings *rings, const Program *program, const int64_t *tile, int64_t first, int64_t at) {
    int32_t w = 0;
    while (w < program->windows && first < at - program->window[w]) w++;
    if (w == program->windows) return 0;
    for (int32_t c = 0; c < program->columns; c++) {
        Gathered more;
        if (!program->column[c].features) continue;
        memset(&more, 0, sizeof more);
        tile = take_tile(tile, &program->column[c], &more);
        if (more.count < 0) return 0;
        if (more.count && program->column[c].needs & (OLDEST | NEWEST) &&
            (more.oldest.time < first || more.newest.time < more.oldest.time || more.newest.time >= at))
            return 0;
        join_gathered(&rings->ring[(int64_t)c * program->windows + w], &program->column[c], &more);
    }
    return 1;
}

static void finish_rings(const Rings *rings, const Program *program, Gathered *whole, int64_t at, double *out, int64_t *known) {
    for (int32_t c = 0; c < program->columns; c++) {
        const Column *column = &program->column[c];
        const Feature *feature = program->feature + column->first_feature, *after = feature + column->features;
        int32_t w = 0;
        if (!column->features) continue;
        begin(whole, column);
        for (; feature < after; feature++) {
            for (; w <= feature->window; w++)
                join_gathered(whole, column, &rings->ring[(int64_t)c * program->windows + w]);
            out[feature->place] = finish(feature, whole, at);
        }
        if (whole->known > *known) *known = whole->known;
    }
}

/* look_up_pieces(data, spans, tiles, firsts, at, out, statuses, known): one row, of an entity in pieces. `spans` say where
 * in the data its head lies and then the chunks that are looked at event by event; of other chunks `tiles` has the numbers
 * and `firsts` the first event's time: each of their events counts at `at` or never will, and every window covers all of
 * them or none. Raises ValueError as `look_up` does. */
static PyObject *look_up_pieces(PyObject *object, PyObject *args) {
    enum { DATA, SPANS, TILES, FIRSTS, AT, OUT, STATUSES, KNOWN, PARTS };
    const Program *program = &((Object *)object)->program;
    PyObject *part[PARTS];
    Py_buffer view[PARTS];
    Room room = {0};
    Rings rings = {NULL, NULL};
    int held = 0, status = -1;
    if (!PyArg_ParseTuple(args, "OOOOOOOO", &part[0], &part[1], &part[2], &part[3], &part[4], &part[5], &part[6], &part[7]))
        return NULL;
    for (; held < PARTS; held++)
        if (take(part[held], &view[held], held == DATA || held == STATUSES ? 1 : 8,
                 held <= FIRSTS ? -1 : held == AT || held == KNOWN ? 1 : program->places, held < OUT ? 0 : PyBUF_WRITABLE) < 0)
            goto done;
    {
        const uint8_t *data = view[DATA].buf;
        const int64_t *span = view[SPANS].buf, *tiles = view[TILES].buf, *first = view[FIRSTS].buf, at = *(int64_t *)view[AT].buf;
        const int64_t size = view[DATA].len, pieces = view[SPANS].len / 16, width = all_tile_numbers(program);
        double *out = view[OUT].buf;
        uint8_t *statuses = view[STATUSES].buf;
        int64_t *known = view[KNOWN].buf, horizon = INT64_MIN, other;
        History history;
        if (!in_pieces(program) || view[TILES].len / 8 != view[FIRSTS].len / 8 * width) {
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
                status = read_blob(program, &room, &history, data + span[2 * i], span[2 * i + 1], earliest(program, at), at,
                                   i ? &other : &horizon);
            if (!status) gather_piece(&rings, program, &history, at);
        }
        if (!status && at >= horizon) {
            for (int64_t i = 0; i < view[FIRSTS].len / 8 && !status; i++)
                if (!gather_tile(&rings, program, tiles + i * width, first[i], at)) status = 3;
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
    if (room.values) free_room(&room);
    while (held) PyBuffer_Release(&view[--held]);
    if (status) return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}
