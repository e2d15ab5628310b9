/* Included by module.c: one request after the other, each from its entity's blob. */

enum { PRESENT = 1, MISSING = 2, UNKNOWN_ENTITY = 3, BEFORE_HORIZON = 4 };

/* One row's values, statuses and the moment up to which its history is known. `blob`: NULL when the entity was never
 * seen. 0: fine, 1: no blob of this view, -1: no memory. */
static int answer_row(const Program *program, Room *room, const Py_buffer *blob, int64_t at, double *out,
                      uint8_t *status, int64_t *known, int64_t stride, int64_t row) {
    History history;
    int64_t horizon = INT64_MIN;
    int problem = 0;
    known[row] = INT64_MIN;
    answer_nothing(program, out, stride, row);
    if (blob && (problem = read_blob(program, room, &history, blob->buf, blob->len, &horizon))) return problem;
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

/* look_up(blobs, at, out, statuses, known): a blob is bytes; None: the entity was never seen; empty: a key is missing.
 * Values go to out[place][row], statuses likewise, and known[row] is int64's smallest where nothing counts. Raises
 * ValueError for bytes that are no blob of this view. */
static PyObject *look_up(PyObject *object, PyObject *args) {
    const Program *program = &((Object *)object)->program;
    PyObject *blobs, *parts[4];
    Py_buffer view[4];
    Room room;
    int held = 0, status = -1;
    Py_ssize_t rows;
    if (!PyArg_ParseTuple(args, "OOOOO", &blobs, &parts[0], &parts[1], &parts[2], &parts[3])) return NULL;
    if (!PyList_CheckExact(blobs)) return refuse("blobs are a list"), NULL;
    rows = PyList_Size(blobs);
    for (; held < 4; held++) {
        const Py_ssize_t length = held == 0 || held == 3 ? rows : rows * program->places;
        if (take(parts[held], &view[held], held == 2 ? 1 : 8, length, held ? PyBUF_WRITABLE : 0) < 0) goto done;
    }
    if (make_room(&room, program) < 0) {
        refuse("");
        goto done;
    }
    {
        const int64_t *at = view[0].buf;
        double *out = view[1].buf;
        uint8_t *statuses = view[2].buf;
        int64_t *known = view[3].buf;
        status = 0;
        for (Py_ssize_t row = 0; row < rows && !status; row++) {
            PyObject *item = PyList_GetItem(blobs, row);
            Py_buffer blob;
            if (item == Py_None) {
                status = answer_row(program, &room, NULL, at[row], out, statuses, known, rows, row);
                continue;
            }
            if (PyObject_GetBuffer(item, &blob, 0) < 0) {
                status = -2;
                break;
            }
            if (blob.len == 0) {
                for (int32_t place = 0; place < program->places; place++) {
                    out[place * rows + row] = NAN;
                    statuses[place * rows + row] = MISSING;
                }
                known[row] = INT64_MIN;
            } else
                status = answer_row(program, &room, &blob, at[row], out, statuses, known, rows, row);
            PyBuffer_Release(&blob);
        }
        free_room(&room);
        if (status == 1) refuse("the bytes are no blob of this view");
        if (status == -1) refuse("");
    }
done:
    while (held) PyBuffer_Release(&view[--held]);
    if (status) return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}
