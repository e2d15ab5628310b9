/* Included by module.c: one request after the other, each from its entity's blob. */

enum { PRESENT = 1, MISSING = 2, UNKNOWN_ENTITY = 3, BEFORE_HORIZON = 4, IN_PIECES = 5 };

/* One row's values, statuses and the moment up to which its history is known. `blob`: NULL when the entity was never
 * seen. 0: fine, 1: no blob of this view, -1: no memory, -2: only a head, which tells nothing alone. */
static int answer_row(const Program *program, Room *room, const uint8_t *blob, int64_t length, int64_t at, double *out,
                      uint8_t *status, int64_t *known, int64_t stride, int64_t row) {
    History history;
    int64_t horizon = INT64_MIN;
    int problem = 0;
    known[row] = INT64_MIN;
    answer_nothing(program, out, stride, row);
    if (blob && length >= BLOB_HEADER && read_number(blob + 6, 2) & BLOB_CHUNKS) {
        for (int32_t place = 0; place < program->places; place++) status[place * stride + row] = IN_PIECES;
        return -2;
    }
    if (blob && (problem = read_blob(program, room, &history, blob, length, earliest(program, at), at, &horizon)))
        return problem;
    if (at < horizon) {
        for (int32_t place = 0; place < program->places; place++) {
            out[place * stride + row] = NAN;
            status[place * stride + row] = BEFORE_HORIZON;
        }
        return 0;
    }
    if (blob && evaluate_entity(program, room, &history, &at, &row, 1, out, stride, known) < 0) return -1;
    finish_expressions(program, out, stride, row);
    for (int32_t place = 0; place < program->places; place++)
        status[place * stride + row] = !blob ? UNKNOWN_ENTITY : isnan(out[place * stride + row]) ? MISSING : PRESENT;
    return 0;
}

/* look_up(data, spans, rows, at, out, statuses, known): of each blob, `spans` has where in the data it begins and how long it
 * is, or -1 as its length: the entity was never seen. `rows` has which blob each row is of; -1: a key is missing. Values go to
 * out[place][row], statuses likewise, and known[row] is int64's smallest where nothing counts. Gives how many rows have
 * the status IN_PIECES, for `look_up_pieces`. Raises ValueError for bytes that are no blob of this view. */
static PyObject *look_up(PyObject *object, PyObject *args) {
    enum { DATA, SPANS, ROWS_OF, AT, OUT, STATUSES, KNOWN, PARTS };
    const Program *program = &((Object *)object)->program;
    PyObject *part[PARTS];
    Py_buffer view[PARTS];
    Room room;
    int held = 0, status = -1;
    Py_ssize_t rows = 0, heads = 0;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &part[0], &part[1], &part[2], &part[3], &part[4], &part[5], &part[6])) return NULL;
    for (; held < PARTS; held++) {
        if (held > ROWS_OF) rows = view[ROWS_OF].len / 8;
        if (take(part[held], &view[held], held == DATA || held == STATUSES ? 1 : 8,
                 held <= ROWS_OF ? -1 : held == AT || held == KNOWN ? rows : rows * program->places,
                 held < OUT ? 0 : PyBUF_WRITABLE) < 0)
            goto done;
    }
    if (make_room(&room, program) < 0) {
        refuse("");
        goto done;
    }
    {
        const uint8_t *data = view[DATA].buf;
        const int64_t *span = view[SPANS].buf, *row_of = view[ROWS_OF].buf, *at = view[AT].buf;
        const int64_t size = view[DATA].len, blobs = view[SPANS].len / 16;
        double *out = view[OUT].buf;
        uint8_t *statuses = view[STATUSES].buf;
        int64_t *known = view[KNOWN].buf;
        status = 0;
        for (Py_ssize_t row = 0; row < rows && !status; row++) {
            const int64_t blob = row_of[row];
            if (blob < 0) {
                for (int32_t place = 0; place < program->places; place++) {
                    out[place * rows + row] = NAN;
                    statuses[place * rows + row] = MISSING;
                }
                known[row] = INT64_MIN;
            } else if (blob >= blobs || (span[2 * blob + 1] >= 0 && (span[2 * blob] < 0 || span[2 * blob] > size ||
                                                                    span[2 * blob + 1] > size - span[2 * blob])))
                status = 2;
            else
                status = answer_row(program, &room, span[2 * blob + 1] < 0 ? NULL : data + span[2 * blob], span[2 * blob + 1],
                                    at[row], out, statuses, known, rows, row);
            if (status == -2) heads++, status = 0;
        }
        free_room(&room);
        if (status == 1) refuse("the bytes are no blob of this view");
        if (status == 2) refuse("a blob is not in the data");
        if (status == -1) refuse("");
    }
done:
    while (held) PyBuffer_Release(&view[--held]);
    return status ? NULL : PyLong_FromSize_t((size_t)heads);
}
