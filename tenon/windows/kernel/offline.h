/* Included by module.c: events of many entities in arrays, and many requests of each. */

/* group(codes, times, groups, order, starts): a stable counting sort by code, then by time inside each. Codes outside
 * 0 ... groups - 1 are left out; starts has groups + 1 items. */
static PyObject *group(PyObject *module, PyObject *args) {
    PyObject *parts[4];
    Py_buffer view[4];
    Py_ssize_t groups;
    int held = 0, status = -1;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOnOO", &parts[0], &parts[1], &groups, &parts[2], &parts[3])) return NULL;
    if (groups < 0) return refuse("there are no negative groups"), NULL;
    for (; held < 4; held++) {
        const Py_ssize_t length = held == 0 ? -1 : held == 3 ? groups + 1 : view[0].len / 8;
        if (take(parts[held], &view[held], 8, length, held > 1 ? PyBUF_WRITABLE : 0) < 0) goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    const int64_t *code = view[0].buf, *time = view[1].buf, count = view[0].len / 8;
    int64_t *order = view[2].buf, *start = view[3].buf;
    memset(start, 0, ((size_t)groups + 1) * sizeof(int64_t));
    for (int64_t i = 0; i < count; i++)
        if (code[i] >= 0 && code[i] < groups) start[code[i] + 1]++;
    for (Py_ssize_t i = 0; i < groups; i++) start[i + 1] += start[i];
    for (int64_t i = 0; i < count; i++)
        if (code[i] >= 0 && code[i] < groups) order[start[code[i]]++] = i;
    for (Py_ssize_t i = groups; i > 0; i--) start[i] = start[i - 1];
    start[0] = 0;
    status = 0;
    for (Py_ssize_t i = 0; i < groups && !status; i++)
        status = sort_positions(order + start[i], start[i + 1] - start[i], time);
    Py_END_ALLOW_THREADS
    if (status) refuse("");
done:
    while (held) PyBuffer_Release(&view[--held]);
    if (status) return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}

typedef struct { Py_buffer view[4 * MAX_COLUMNS]; Values values[MAX_COLUMNS]; int held; } Arrays;

static int take_columns(Arrays *arrays, PyObject *columns, int32_t count, Py_ssize_t events) {
    if (!PyTuple_CheckExact(columns) || PyTuple_Size(columns) != count) return refuse("columns are a tuple, one each");
    for (int32_t c = 0; c < count; c++) {
        PyObject *column = PyTuple_GetItem(columns, c);
        if (!PyTuple_CheckExact(column) || PyTuple_Size(column) != 4)
            return refuse("a column is (known, until, value, valid)");
        for (int k = 0; k < 4; k++) {
            PyObject *item = PyTuple_GetItem(column, k);
            Py_buffer *view = &arrays->view[arrays->held];
            if (item == Py_None) continue;
            if (take(item, view, k == 3 ? 1 : 8, events, 0) < 0) return -1;
            arrays->held++;
            if (k == 0) arrays->values[c].known = view->buf;
            if (k == 1) arrays->values[c].until = view->buf;
            if (k == 2) arrays->values[c].value = view->buf;
            if (k == 3) arrays->values[c].valid = view->buf;
        }
    }
    return 0;
}

/* One entity's events, in order, from where they lie. */
static int collect(const Program *program, Room *room, History *history, const int64_t *time, const Values *from,
                   const int64_t *order, int64_t count) {
    if (widen_room(room, program, count) < 0) return -1;
    history->events = history->last = count;
    history->first = 0;
    history->time = room->time;
    history->column = room->values;
    for (int64_t i = 0; i < count; i++) room->time[i] = time[order[i]];
    for (int32_t c = 0; c < program->columns; c++) {
        const Values *source = &from[c];
        Values *values = &room->values[c];
        memset(values, 0, sizeof *values);
        if (!program->column[c].features) continue;
        if (source->valid) {
            uint8_t *into = room->valid + (size_t)c * (size_t)room->capacity;
            uint8_t all = 1;
            for (int64_t i = 0; i < count; i++) all &= into[i] = source->valid[order[i]] != 0;
            if (!all) values->valid = into;
        }
        for (int k = 0; k < 3; k++) {
            const int64_t *items = k == 0 ? source->known : k == 1 ? source->until : source->value;
            int64_t *into = room_for(room, c, k), usual = k == 1 ? INT64_MAX : 0, different = 0;
            if (!items || (k == 2 && !program->column[c].needs && !program->column[c].statics)) continue;
            if (k == 0)
                for (int64_t i = 0; i < count; i++) different |= (into[i] = items[order[i]]) ^ room->time[i];
            else
                for (int64_t i = 0; i < count; i++) different |= (into[i] = items[order[i]]) ^ usual;
            if (!different) continue;
            if (k == 0) values->known = into;
            if (k == 1) values->until = into;
            if (k == 2) values->value = into;
        }
    }
    return 0;
}

/* evaluate(time, columns, order, starts, at, request_order, request_starts, out): answers into out[place][request].
 * A request that is in no group has no history: counts are 0 and the rest is missing. */
static PyObject *evaluate(PyObject *object, PyObject *args) {
    const Program *program = &((Object *)object)->program;
    PyObject *parts[7], *columns;
    Py_buffer view[7];
    Arrays *arrays;
    Room room;
    int held = 0, status = -1;
    if (!PyArg_ParseTuple(args, "OOOOOOOO", &parts[0], &columns, &parts[1], &parts[2], &parts[3], &parts[4], &parts[5],
                          &parts[6]))
        return NULL;
    if (!(arrays = calloc(1, sizeof *arrays))) return PyErr_NoMemory();
    for (; held < 7; held++) {
        Py_ssize_t length = -1;
        if (held == 1) length = view[0].len / 8; /* order, of time */
        if (held == 4) length = view[3].len / 8; /* request order, of at */
        if (held == 5) length = view[2].len / 8; /* request starts, of starts */
        if (held == 6) length = view[3].len / 8 * program->places;
        if (take(parts[held], &view[held], 8, length, held == 6 ? PyBUF_WRITABLE : 0) < 0) goto done;
    }
    if (take_columns(arrays, columns, program->columns, view[0].len / 8) < 0) goto done;
    {
        const int64_t *time = view[0].buf, *order = view[1].buf, *start = view[2].buf, *at = view[3].buf;
        const int64_t *request = view[4].buf, *first = view[5].buf;
        const int64_t events = view[0].len / 8, requests = view[3].len / 8, groups = view[2].len / 8 - 1;
        double *out = view[6].buf;
        if (groups < 0) {
            refuse("starts has one item more than there are groups");
            goto done;
        }
        for (int64_t i = 0; i < groups; i++)
            if (start[i] < 0 || start[i] > start[i + 1] || start[i + 1] > events || first[i] < 0 ||
                first[i] > first[i + 1] || first[i + 1] > requests) {
                refuse("starts are out of range");
                goto done;
            }
        for (int64_t i = 0; groups && i < start[groups]; i++)
            if (order[i] < 0 || order[i] >= events) {
                refuse("the order is out of range");
                goto done;
            }
        for (int64_t i = 0; groups && i < first[groups]; i++)
            if (request[i] < 0 || request[i] >= requests) {
                refuse("the requests' order is out of range");
                goto done;
            }
        if (make_room(&room, program) < 0) {
            refuse("");
            goto done;
        }
        Py_BEGIN_ALLOW_THREADS
        int64_t *times = NULL, capacity = 0;
        status = 0;
        for (int32_t place = 0; place < program->places; place++)
            for (int64_t i = 0; i < requests; i++)
                out[place * requests + i] = program->is_count[place] ? 0.0 : NAN;
        for (int64_t i = 0; i < groups && !status; i++) {
            const int64_t some = first[i + 1] - first[i];
            History history;
            if (!some) continue;
            if (some > capacity) {
                free(times);
                capacity = 2 * some;
                times = malloc((size_t)capacity * sizeof(int64_t));
            }
            if (!times || collect(program, &room, &history, time, arrays->values, order + start[i], start[i + 1] - start[i]) < 0) {
                status = -1;
                break;
            }
            for (int64_t k = 0; k < some; k++) times[k] = at[request[first[i] + k]];
            status = evaluate_entity(program, &room, &history, times, request + first[i], some, out, requests, NULL);
        }
        for (int64_t i = 0; program->expressions && i < requests; i++) finish_expressions(program, out, requests, i);
        free(times);
        Py_END_ALLOW_THREADS
        free_room(&room);
        if (status) refuse("");
    }
done:
    while (arrays->held) PyBuffer_Release(&arrays->view[--arrays->held]);
    free(arrays);
    while (held) PyBuffer_Release(&view[--held]);
    if (status) return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}
