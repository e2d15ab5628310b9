/* The door to Python: a view's program, the grouping of events by entity, and the two ways to ask for values. What a
 * value is: docs/concepts/feature-semantics.md. `tenon.windows.reference` gives the same bits in numpy. */
#include "abi.h"

#include "blob.h"

#ifdef TENON_NO_PYTHON_H
enum { METH_VARARGS = 0x0001 };
#endif

typedef struct {
    PyObject_HEAD
    Program program;
} Object;

static int refuse(const char *problem) {
    if (*problem) PyErr_SetString(PyExc_ValueError, problem);
    else PyErr_NoMemory();
    return -1;
}

/* A contiguous buffer of one item type; `length` < 0: any. */
static int take(PyObject *object, Py_buffer *view, Py_ssize_t size, Py_ssize_t length, int flags) {
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | flags) < 0) return -1;
    if (view->itemsize == size && (length < 0 || view->len == length * size)) return 0;
    PyBuffer_Release(view);
    return refuse("an array has another type or length than it should");
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_program(&((Object *)object)->program);
    release(object);
    Py_DECREF(type);
}

static int needs_of(int32_t function, int floats) {
    switch (function) {
    case SUM: case MEAN: return floats ? EXACT : TOTAL;
    case STD: return floats ? EXACT | EXACT_SQUARES : TOTAL | SQUARES;
    case MIN: case MAX: return EXTREMES;
    case FIRST: return OLDEST;
    case LAST: case SINCE_LAST: return NEWEST;
    case DISTINCT: case QUANTILE: return ROWS;
    case RATE: return ABOVE;
    default: return 0;
    }
}

/* Rows of seven numbers: column, function, window, place, p, d, unit's exponent (-1: floats); by column, statics first, then window. */
static int make_features(Program *program, const int64_t *row, int32_t count) {
    for (int32_t i = 0; i < count; i++, row += 7) {
        Feature *feature = &program->feature[i];
        Column *column;
        if (row[0] < 0 || row[0] >= program->columns || row[1] < COUNT || row[1] > STATIC || row[2] < -1 ||
            row[2] >= program->windows || (row[2] == -1) != (row[1] == STATIC) || row[3] < 0 ||
            row[3] >= program->places || row[6] < -1 || row[6] > 18)
            return refuse("a feature is out of range");
        if (row[1] == QUANTILE && !(row[5] > 0 && row[5] <= 1000000000 && row[4] > 0 && row[4] <= row[5]))
            return refuse("a quantile is not in (0, 1]");
        if (i > 0 && (row[-7] > row[0] || (row[-7] == row[0] && row[-5] > row[2])))
            return refuse("features are not in order");
        column = &program->column[row[0]];
        if (!column->features++) column->first_feature = i;
        column->statics += row[1] == STATIC;
        program->statics += row[1] == STATIC;
        column->needs |= needs_of((int32_t)row[1], row[6] < 0);
        column->longest = (int32_t)row[2];
        feature->function = (int32_t)row[1];
        feature->window = (int32_t)row[2];
        feature->place = (int32_t)row[3];
        feature->p = row[4];
        feature->d = row[5];
        feature->unit = row[6] < 0 ? 0.0 : 1.0;
        for (int64_t k = 0; k < row[6]; k++) feature->unit *= 10.0;
        program->is_count[row[3]] = row[1] == COUNT || row[1] == DISTINCT;
        if (row[1] == RATE) {
            const i128 threshold = (i128)row[4] - (row[5] < 0); /* d = -1: below the smallest, so all are above */
            int32_t k = 0;
            while (k < column->thresholds && column->threshold[k] != threshold) k++;
            if (k == column->thresholds) {
                i128 *grown = realloc(column->threshold, ((size_t)k + 1) * sizeof(i128));
                if (!grown) return refuse("");
                column->threshold = grown;
                grown[column->thresholds++] = threshold;
            }
            feature->threshold = k;
        }
    }
    return 0;
}

/* Steps as (code, feature) pairs beside their numbers; an expression is (place, first step, steps). */
static int make_expressions(Program *program, const int64_t *steps, const double *numbers, int32_t count,
                            const int64_t *expressions, int32_t some) {
    for (int32_t i = 0; i < some; i++) {
        Expression *expression = &program->expression[i];
        const int64_t place = expressions[3 * i], first = expressions[3 * i + 1], length = expressions[3 * i + 2];
        int64_t depth = 0;
        if (place < 0 || place >= program->places || first < 0 || length < 1 || first + length > count)
            return refuse("an expression is out of range");
        expression->place = (int32_t)place;
        expression->first = (int32_t)first;
        expression->steps = (int32_t)length;
        for (int64_t k = first; k < first + length; k++) {
            const int64_t code = steps[2 * k], feature = steps[2 * k + 1];
            if (code < PUSH_FEATURE || code > CHOOSE) return refuse("an expression has an unknown step");
            if (code == PUSH_FEATURE && (feature < 0 || feature >= program->places))
                return refuse("an expression reads a feature that is not there");
            const int64_t takes = code <= PUSH_NUMBER ? 0 : code == ABSOLUTE ? 1 : code == CHOOSE ? 3 : 2;
            if (depth < takes) return refuse("an expression lacks an operand");
            depth += 1 - takes;
            if (depth > MAX_STACK - 4) return refuse("an expression is nested too deeply");
            program->step[k] = (Step){(int32_t)code, (int32_t)feature, numbers[k]};
        }
        if (depth != 1) return refuse("an expression does not give one value");
    }
    return 0;
}

/* Program(columns, places, windows, features, steps, numbers, expressions). Raises ValueError for what does not fit. */
static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *parts[5];
    Py_buffer view[5];
    static const Py_ssize_t width[5] = {1, 7, 2, 1, 3};
    int columns, places, held = 0;
    Object *self;
    Program *program;
    if (keywords && PyDict_Size(keywords)) return refuse("Program takes no keywords"), NULL;
    if (!PyArg_ParseTuple(args, "iiOOOOO", &columns, &places, &parts[0], &parts[1], &parts[2], &parts[3], &parts[4]))
        return NULL;
    if (columns < 1 || columns > MAX_COLUMNS || places < 1 || places > MAX_FEATURES)
        return refuse("a view has too many columns or features"), NULL;
    self = (Object *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0); /* all zeros */
    if (!self) return NULL;
    for (; held < 5; held++) {
        if (take(parts[held], &view[held], 8, -1, 0) < 0) goto failed;
        if (view[held].len % (8 * width[held]) || view[held].len / 8 > 1 << 20) {
            PyBuffer_Release(&view[held]);
            refuse("an array of the program has no valid length");
            goto failed;
        }
    }
    program = &self->program;
    program->columns = columns;
    program->places = places;
    program->windows = (int32_t)(view[0].len / 8);
    program->features = (int32_t)(view[1].len / 56);
    program->expressions = (int32_t)(view[4].len / 24);
    if (program->windows > MAX_WINDOWS || program->features > MAX_FEATURES || program->expressions > MAX_FEATURES ||
        view[3].len / 8 != view[2].len / 16) {
        refuse("a view has too many windows or features");
        goto failed;
    }
    program->window = malloc((size_t)view[0].len + 8);
    program->column = calloc((size_t)columns, sizeof(Column));
    program->feature = calloc((size_t)program->features + 1, sizeof(Feature));
    program->step = calloc((size_t)view[3].len / 8 + 1, sizeof(Step));
    program->expression = calloc((size_t)program->expressions + 1, sizeof(Expression));
    program->is_count = calloc((size_t)places, 1);
    if (!program->window || !program->column || !program->feature || !program->step || !program->expression ||
        !program->is_count) {
        refuse("");
        goto failed;
    }
    memcpy(program->window, view[0].buf, (size_t)view[0].len);
    for (int32_t i = 0; i < program->windows; i++)
        if (program->window[i] <= 0 || program->window[i] > (int64_t)1 << 60 ||
            (i > 0 && program->window[i] <= program->window[i - 1])) {
            refuse("windows do not ascend");
            goto failed;
        }
    for (int32_t i = 0; i < columns; i++) program->column[i].longest = -1;
    if (make_features(program, view[1].buf, program->features) < 0 ||
        make_expressions(program, view[2].buf, view[3].buf, (int32_t)(view[3].len / 8), view[4].buf,
                         program->expressions) < 0)
        goto failed;
    while (held) PyBuffer_Release(&view[--held]);
    return (PyObject *)self;
failed:
    while (held) PyBuffer_Release(&view[--held]);
    Py_DECREF((PyObject *)self);
    return NULL;
}

#include "offline.h"
#include "online.h"
#include "pieces.h"
#include "reply.h"

/* ---- the module -------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"evaluate", evaluate, METH_VARARGS, "Answer requests from arrays of events."},
    {"look_up", look_up, METH_VARARGS, "Answer requests from entities' blobs."},
    {"look_up_pieces", look_up_pieces, METH_VARARGS, "Answer one request from the pieces of an entity."},
    {"tile_numbers", tile_numbers_of, METH_VARARGS, "How many numbers a tile has."},
    {"tile", tile, METH_VARARGS, "What all events of a chunk add up to."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, make}, {Py_tp_dealloc, dealloc}, {Py_tp_methods, methods},
    {Py_tp_doc, "A compiled view."}, {0, NULL},
};

static PyType_Spec spec = {"tenon.windows.kernel._kernel.Program", sizeof(Object), 0, Py_TPFLAGS_DEFAULT, slots};

static PyMethodDef functions[] = {
    {"group", group, METH_VARARGS, "The order of items by group, then time."},
    {"question", question, METH_VARARGS, "The bytes that ask a store for blobs."},
    {"read_reply", read_reply, METH_VARARGS, "Where the blobs are in a store's reply."},
    {NULL, NULL, 0, NULL},
};

static int fill_module(PyObject *module) {
    PyObject *type = PyType_FromSpec(&spec);
    int status = type ? PyModule_AddObjectRef(module, "Program", type) : -1;
    Py_XDECREF(type);
    if (status < 0) return -1;
    return PyModule_AddStringConstant(module, "SOURCE", TENON_SOURCE);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernel", "Sliding windows.", 0, functions, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void) {
    return PyModuleDef_Init(&definition);
}
