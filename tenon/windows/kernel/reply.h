/* Included by module.c: what asks a store (Redis) for many blobs at once, and where they are in its reply. */

static char *put_number(char *into, Py_ssize_t number) {
    char digits[24];
    int count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) *into++ = digits[--count];
    return into;
}

static char *put_head(char *into, char kind, Py_ssize_t number) {
    *into++ = kind;
    into = put_number(into, number);
    *into++ = '\r';
    *into++ = '\n';
    return into;
}

static char *put(char *into, const char *bytes, Py_ssize_t size) {
    memcpy(into, bytes, (size_t)size);
    return into + size;
}

/* A key's last part: bytes as they are, a text with `=` before it. NULL with an exception set when it is neither. */
static const char *part_of(PyObject *item, Py_ssize_t *size, int *is_text) {
    char *bytes;
    if ((*is_text = Py_TYPE(item) == &PyUnicode_Type)) return PyUnicode_AsUTF8AndSize(item, size);
    return PyBytes_AsStringAndSize(item, &bytes, size) < 0 ? NULL : bytes;
}

enum { HEAD_BYTES = 26, KEY_BYTES = 32 };

/* Writes the keys, or where `into` is NULL counts the bytes they take at most. Gives NULL with an exception set. */
static char *put_keys(char *into, Py_ssize_t *bytes, Py_ssize_t *keys, PyObject *prefix, PyObject *names) {
    char *before;
    Py_ssize_t length, size;
    int is_text;
    if (PyBytes_AsStringAndSize(prefix, &before, &length) < 0) return NULL;
    if (!PyList_CheckExact(names)) return refuse("names are a list"), NULL;
    for (Py_ssize_t i = 0; i < PyList_Size(names); i++) {
        const char *name = part_of(PyList_GetItem(names, i), &size, &is_text);
        if (!name) return NULL;
        if (!into) {
            *bytes += length + size + KEY_BYTES;
            ++*keys;
            continue;
        }
        into = put(put_head(into, '$', length + is_text + size), before, length);
        if (is_text) *into++ = '=';
        into = put(put(into, name, size), "\r\n", 2);
    }
    return into ? into : before;
}

/* question([(prefix, names), ...]): the command MGET of the keys that are a prefix and a name each. */
static PyObject *question(PyObject *module, PyObject *args) {
    PyObject *groups, *made, *whole;
    Py_ssize_t bytes = HEAD_BYTES + 16, keys = 0;
    char *into = NULL, *start;
    (void)module;
    if (!PyArg_ParseTuple(args, "O", &groups)) return NULL;
    if (!PyList_CheckExact(groups)) return refuse("groups are a list"), NULL;
    for (int pass = 0; pass < 2; pass++) {
        for (Py_ssize_t i = 0; i < PyList_Size(groups); i++) {
            PyObject *group = PyList_GetItem(groups, i);
            if (!PyTuple_CheckExact(group) || PyTuple_Size(group) != 2) {
                refuse("a group is a prefix and names");
                goto failed;
            }
            start = put_keys(into, &bytes, &keys, PyTuple_GetItem(group, 0), PyTuple_GetItem(group, 1));
            if (!start) goto failed;
            if (pass) into = start;
        }
        if (pass) break;
        made = PyBytes_FromStringAndSize(NULL, bytes);
        if (!made) return NULL;
        start = PyBytes_AsString(made);
        into = put(put_head(start, '*', keys + 1), "$4\r\nMGET\r\n", 10);
    }
    whole = PyBytes_FromStringAndSize(PyBytes_AsString(made), into - PyBytes_AsString(made));
    Py_DECREF(made);
    return whole;
failed:
    if (into) Py_DECREF(made);
    return NULL;
}

/* A line `<kind><number>` at `at`. Gives the position after it; 0: more has to come, -1: it is another. */
static int64_t read_line(const uint8_t *data, int64_t filled, int64_t at, uint8_t *kind, int64_t *number) {
    int negative = 0;
    if (at >= filled) return 0;
    *kind = data[at++];
    *number = 0;
    if (at < filled && data[at] == '-') negative = 1, at++;
    for (int digits = 0; at < filled && data[at] != '\r'; at++, digits++) {
        if (data[at] < '0' || data[at] > '9' || digits > 12) return -1;
        *number = 10 * *number + data[at] - '0';
    }
    if (at + 1 >= filled) return 0;
    if (negative) *number = -*number;
    return data[at + 1] == '\n' ? at + 2 : -1;
}

/* read_reply(data, filled, state, spans): of a reply with as many blobs as there are spans, of which `filled` bytes have
 * come. Fills the spans (begin and length; -1: no such key) from where `state` (position, spans read) says, which begins as
 * (0, -1). Gives how many bytes are missing at least; 0: it is complete. Raises ValueError for what is no such reply. */
static PyObject *read_reply(PyObject *module, PyObject *args) {
    PyObject *part[4];
    Py_buffer view[4];
    Py_ssize_t filled;
    int64_t missing = -1;
    int held = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "OnOO", &part[0], &filled, &part[1], &part[2])) return NULL;
    for (; held < 3; held++)
        if (take(part[held], &view[held], held ? 8 : 1, held == 1 ? 2 : -1, held ? PyBUF_WRITABLE : 0) < 0) goto done;
    {
        const uint8_t *data = view[0].buf;
        int64_t *state = view[1].buf, *span = view[2].buf, number, after;
        const int64_t count = view[2].len / 16;
        uint8_t kind;
        if (filled < 0 || filled > view[0].len || state[0] < 0 || state[0] > filled || state[1] < -1) goto done;
        for (missing = 0; state[1] < count; state[1]++) {
            after = read_line(data, filled, state[0], &kind, &number);
            if (after <= 0) {
                missing = after < 0 ? -1 : 1;
                break;
            }
            if (state[1] < 0) {
                if (kind != '*' || number != count) {
                    missing = -1;
                    break;
                }
            } else if (kind == '$' && number >= 0) {
                if (filled - after < number + 2) {
                    missing = number + 2 - (filled - after);
                    break;
                }
                span[2 * state[1]] = after;
                span[2 * state[1] + 1] = number;
                after += number + 2;
            } else if ((kind == '$' && number == -1) || (kind == '_' && number == 0)) {
                span[2 * state[1]] = 0;
                span[2 * state[1] + 1] = -1;
            } else {
                missing = -1;
                break;
            }
            state[0] = after;
        }
        if (!missing && state[0] != filled) missing = -1;
    }
done:
    while (held) PyBuffer_Release(&view[--held]);
    if (missing < 0) {
        if (!PyErr_Occurred()) refuse("not the reply that was expected");
        return NULL;
    }
    return PyLong_FromSize_t((size_t)missing);
}
