/* Python's door to the compiled evaluator: a type `Kernel`, made from plain tuples and arrays by tenon/bundle/compiled.py.
 *
 * Only the stable ABI is used, so one build serves every Python from 3.11 on. A kernel never changes once it is made;
 * calls share nothing but it, and long ones let other threads run.
 */

#include "abi.h"

#include "compile.h"

#ifndef TENON_SOURCE
#define TENON_SOURCE "unknown"
#endif

/* Steps of walks (rows x trees x depth) above which a call lets other threads run: some eighty microseconds, half of that
 * with vectors. Below it, handing the lock over costs more than it gives. */
enum { LONG_CALL = 150000 };

/* Bytes of the stack that a call may use before it asks for memory. None under sanitizers, which then see the end of each
 * part by itself. */
#ifdef TENON_SANITIZED
enum { ON_STACK = 8 };
#else
enum { ON_STACK = 8192 };
#endif

typedef struct {
    PyObject_HEAD
    Model model;
    PyObject *names;   /* tuple of the columns' names */
    PyObject *lookups; /* tuple of one dict for each text step: category -> code */
    int32_t columns;
    int32_t *role;      /* of each column: its number input, or -1 for text */
    int32_t *text_step; /* of each text step: its column */
    double work;        /* steps of walks for one row */
} Kernel;

/* What a call has taken hold of. */
typedef struct {
    Numbers *numbers;
    int32_t *codes;
    void *scratch;
    double *copied; /* room for numbers that came as a list; made when the first one comes */
    Py_buffer *buffers;
    PyObject **objects; /* converted inputs that the views point into */
    Py_ssize_t held, kept;
    void *heap[5];
    int heaps;
    size_t used;
    double stack[ON_STACK / sizeof(double)];
} Call;

static int is_type(const Py_buffer *view, const char *format, Py_ssize_t size) {
    return view->itemsize == size && view->format && strcmp(view->format, format) == 0;
}

/* ---- one call ---------------------------------------------------------------------------------------------------- */

/* Room for one part of a call: of the stack while there is some, else of its own. NULL without memory. */
static void *take_room(Call *call, size_t bytes) {
    const size_t rounded = (bytes + 15) & ~(size_t)15;
    if (rounded <= sizeof call->stack - call->used) {
        void *room = (char *)call->stack + call->used;
        call->used += rounded;
        return room;
    }
    return call->heap[call->heaps++] = malloc(bytes);
}

static void end(Call *call) {
    while (call->held) PyBuffer_Release(&call->buffers[--call->held]);
    while (call->kept) Py_DecRef(call->objects[--call->kept]);
    while (call->heaps) free(call->heap[--call->heaps]);
    free(call->copied);
}

static int begin(const Kernel *self, Call *call, Py_ssize_t rows) {
    const size_t inputs = (size_t)self->columns + 1, texts = (size_t)self->model.texts;
    memset(call, 0, offsetof(Call, stack));
    if ((call->numbers = take_room(call, inputs * sizeof *call->numbers)) &&
        (call->buffers = take_room(call, inputs * sizeof *call->buffers)) &&
        (call->objects = take_room(call, inputs * sizeof *call->objects)) &&
        (call->codes = take_room(call, texts * (size_t)rows * sizeof *call->codes)) &&
        (call->scratch = take_room(call, scratch_bytes(&self->model, rows))))
        return 0;
    end(call);
    PyErr_NoMemory();
    return -1;
}

static int wrong_length(const Kernel *self, Py_ssize_t column, Py_ssize_t found, Py_ssize_t rows) {
    PyErr_Format(PyExc_ValueError, "column %R has %zd rows, not %zd", PyTuple_GetItem(self->names, column), found, rows);
    return -1;
}

/* None is missing; everything else is what float() makes of it. */
static int number_of(PyObject *item, double *out) {
    if (item == Py_None) {
        *out = NAN;
        return 0;
    }
    *out = PyFloat_AsDouble(item);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static int code_of(const Kernel *self, int32_t text, PyObject *item, int32_t *out) {
    PyObject *found;
    long code;
    Py_IncRef(item); /* an odd item's own __eq__ may run, and drop it */
    found = PyDict_GetItemWithError(PyTuple_GetItem(self->lookups, text), item);
    Py_DecRef(item);
    if (!found) {
        *out = item == Py_None ? MISSING : UNKNOWN;
        return PyErr_Occurred() ? -1 : 0;
    }
    code = PyLong_AsLong(found);
    if (code < 0 || code > INT32_MAX) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a category's code is out of range");
        return -1;
    }
    *out = (int32_t)code;
    return 0;
}

/* Codes of all rows for all steps that read one text column. */
static int encode(const Kernel *self, Call *call, int32_t column, PyObject *values, Py_ssize_t rows) {
    PyObject *list = values;
    Py_ssize_t found;
    Py_buffer view;
    int status = -1, viewed = 0, is_list = PyList_CheckExact(values);
    if (!is_list) {
        if (PyObject_GetBuffer(values, &view, PyBUF_FORMAT | PyBUF_STRIDES) == 0) {
            viewed = view.ndim == 1 && is_type(&view, "O", sizeof(PyObject *));
            if (!viewed) PyBuffer_Release(&view);
        } else {
            PyErr_Clear();
        }
        if (!viewed && !(list = PySequence_List(values))) return -1;
    }
    found = viewed ? view.shape[0] : PyList_Size(list);
    if (found != rows) {
        wrong_length(self, column, found, rows);
        goto done;
    }
    for (int32_t text = 0; text < self->model.texts; text++) {
        if (self->text_step[text] != column) continue;
        for (Py_ssize_t row = 0; row < rows; row++) {
            PyObject *item;
            if (viewed)
                memcpy(&item, (char *)view.buf + row * view.strides[0], sizeof item);
            else if (!(item = PyList_GetItem(list, row))) /* an item's __eq__ may have made the list shorter */
                goto done;
            if (code_of(self, text, item ? item : Py_None, &call->codes[text * rows + row]) < 0) goto done;
        }
    }
    status = 0;
done:
    if (viewed)
        PyBuffer_Release(&view);
    else if (!is_list)
        Py_DecRef(list);
    return status;
}

static int take_list(const Kernel *self, Call *call, int32_t column, PyObject *list, Py_ssize_t rows, Numbers *out) {
    double *room;
    if (PyList_Size(list) != rows) return wrong_length(self, column, PyList_Size(list), rows);
    if (!call->copied && !(call->copied = malloc(((size_t)self->columns * (size_t)rows + 1) * sizeof(double)))) {
        PyErr_NoMemory();
        return -1;
    }
    room = call->copied + (size_t)column * (size_t)rows;
    for (Py_ssize_t row = 0; row < rows; row++) {
        PyObject *item = PyList_GetItem(list, row);
        if (!item || number_of(item, &room[row]) < 0) return -1;
    }
    *out = (Numbers){(char *)room, sizeof(double)};
    return 0;
}

static int take_numbers(const Kernel *self, Call *call, int32_t column, PyObject *values, Py_ssize_t rows) {
    Numbers *out = &call->numbers[self->role[column]];
    Py_buffer *view = &call->buffers[call->held];
    if (PyList_CheckExact(values)) return take_list(self, call, column, values, rows, out);
    if (PyObject_GetBuffer(values, view, PyBUF_FORMAT | PyBUF_STRIDES) == 0) {
        if (view->ndim == 1 && is_type(view, "d", sizeof(double))) {
            call->held++;
            if (view->shape[0] != rows) return wrong_length(self, column, view->shape[0], rows);
            *out = (Numbers){view->buf, view->strides[0]};
            return 0;
        }
        PyBuffer_Release(view);
    } else {
        PyErr_Clear();
    }
    /* Integers, float32, booleans, tuples, ...: item by item. */
    PyObject *list = PySequence_List(values);
    if (!list) return -1;
    call->objects[call->kept++] = list;
    return take_list(self, call, column, list, rows, out);
}

static void run(const Kernel *self, Call *call, Py_ssize_t rows, int raw, double *out) {
    if ((double)rows * self->work > LONG_CALL) {
        Py_BEGIN_ALLOW_THREADS
        evaluate(&self->model, call->numbers, call->codes, rows, raw, call->scratch, out);
        Py_END_ALLOW_THREADS
    } else {
        evaluate(&self->model, call->numbers, call->codes, rows, raw, call->scratch, out);
    }
}

static int take_out(PyObject *array, Py_buffer *out) {
    if (PyObject_GetBuffer(array, out, PyBUF_FORMAT | PyBUF_STRIDES | PyBUF_WRITABLE) < 0) return -1;
    if (out->ndim == 1 && is_type(out, "d", sizeof(double)) && out->strides[0] == sizeof(double)) return 0;
    PyBuffer_Release(out);
    PyErr_SetString(PyExc_TypeError, "answers go into a contiguous float64 array");
    return -1;
}

/* predict(columns, out, raw): columns is a mapping of names to arrays or lists. */
static PyObject *predict(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Kernel *self = (Kernel *)object;
    Py_buffer out;
    Call call;
    PyObject *result = NULL;
    int is_dict;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "predict(columns, out, raw)");
        return NULL;
    }
    if (take_out(args[1], &out) < 0) return NULL;
    const Py_ssize_t rows = out.shape[0];
    if (begin(self, &call, rows) < 0) goto no_call;
    is_dict = PyDict_CheckExact(args[0]);
    for (int32_t column = 0; column < self->columns; column++) {
        PyObject *name = PyTuple_GetItem(self->names, column);
        PyObject *values = is_dict ? PyDict_GetItemWithError(args[0], name) : PyObject_GetItem(args[0], name);
        if (!values) {
            if (!PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, name);
            goto done;
        }
        if (is_dict) Py_IncRef(values);
        int status = self->role[column] >= 0 ? take_numbers(self, &call, column, values, rows)
                                             : encode(self, &call, column, values, rows);
        Py_DecRef(values); /* a view or the call holds on to what is still needed */
        if (status < 0) goto done;
    }
    run(self, &call, rows, args[2] == Py_True, out.buf);
    result = Py_None;
    Py_IncRef(result);
done:
    end(&call);
no_call:
    PyBuffer_Release(&out);
    return result;
}

/* predict_row(values): one row, a list or tuple in the order of the columns; a float. */
static PyObject *predict_row(PyObject *object, PyObject *values) {
    Kernel *self = (Kernel *)object;
    Call call;
    PyObject *result = NULL;
    double answer, *room;
    const int is_list = PyList_CheckExact(values);
    if (!is_list && !PyTuple_CheckExact(values)) {
        PyErr_SetString(PyExc_TypeError, "a row is a list or a tuple");
        return NULL;
    }
    const Py_ssize_t found = is_list ? PyList_Size(values) : PyTuple_Size(values);
    if (found != self->columns) {
        PyErr_Format(PyExc_ValueError, "the row has %zd values, not %d", found, (int)self->columns);
        return NULL;
    }
    if (begin(self, &call, 1) < 0) return NULL;
    double few[256];
    room = self->columns <= 256 ? few : (call.copied = malloc((size_t)self->columns * sizeof(double)));
    if (!room) {
        PyErr_NoMemory();
        goto done;
    }
    for (int32_t column = 0; column < self->columns; column++) {
        PyObject *item = is_list ? PyList_GetItem(values, column) : PyTuple_GetItem(values, column);
        if (!item) goto done;
        if (self->role[column] >= 0) {
            if (number_of(item, &room[column]) < 0) goto done;
            call.numbers[self->role[column]] = (Numbers){(char *)&room[column], sizeof(double)};
        }
    }
    for (int32_t text = 0; text < self->model.texts; text++) {
        PyObject *item = is_list ? PyList_GetItem(values, self->text_step[text])
                                 : PyTuple_GetItem(values, self->text_step[text]);
        if (!item || code_of(self, text, item, &call.codes[text]) < 0) goto done;
    }
    run(self, &call, 1, 0, &answer);
    result = PyFloat_FromDouble(answer);
done:
    end(&call);
    return result;
}

/* predict_matrix(matrix, out, raw): float64 (rows, columns) in the order of the columns, which are all numbers. */
static PyObject *predict_matrix(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Kernel *self = (Kernel *)object;
    Py_buffer matrix, out;
    Call call;
    PyObject *result = NULL;
    if (count != 3 || self->model.texts) {
        PyErr_SetString(PyExc_TypeError, "predict_matrix(matrix, out, raw) is for models that read no text");
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &matrix, PyBUF_FORMAT | PyBUF_STRIDES) < 0) return NULL;
    if (take_out(args[1], &out) < 0) goto no_out;
    if (matrix.ndim != 2 || !is_type(&matrix, "d", sizeof(double)) || matrix.shape[0] != out.shape[0] ||
        matrix.shape[1] != self->columns) {
        PyErr_Format(PyExc_ValueError, "the matrix is not float64 with %zd rows and %d columns", out.shape[0],
                     (int)self->columns);
        goto no_call;
    }
    if (begin(self, &call, out.shape[0]) < 0) goto no_call;
    for (int32_t column = 0; column < self->columns; column++)
        call.numbers[self->role[column]] = (Numbers){(char *)matrix.buf + column * matrix.strides[1], matrix.strides[0]};
    run(self, &call, out.shape[0], args[2] == Py_True, out.buf);
    end(&call);
    result = Py_None;
    Py_IncRef(result);
no_call:
    PyBuffer_Release(&out);
no_out:
    PyBuffer_Release(&matrix);
    return result;
}

/* ---- making a kernel --------------------------------------------------------------------------------------------- */

static int refuse(const char *problem) {
    if (*problem)
        PyErr_SetString(PyExc_ValueError, problem);
    else
        PyErr_NoMemory();
    return -1;
}

/* steps: (kind, column, categories, indicator, impute, mean, scale, unknown, missing) for each transform. */
static int make_steps(Kernel *self, PyObject *steps) {
    Model *model = &self->model;
    int32_t *inputs = NULL;
    int64_t width = 0;
    const Py_ssize_t count = PyTuple_Size(steps);
    if (count < 0 || count > INT32_MAX / 16) return refuse("the pipeline's steps are not a tuple, or too many");
    model->steps_count = (int32_t)count;
    model->steps = calloc((size_t)count + 1, sizeof *model->steps);
    self->role = calloc((size_t)self->columns + 1, sizeof *self->role);
    self->text_step = calloc((size_t)count + 1, sizeof *self->text_step);
    inputs = calloc((size_t)self->columns + 1, sizeof *inputs); /* of each column: 1 number, 2 text */
    if (!model->steps || !self->role || !self->text_step || !inputs) {
        free(inputs);
        return refuse("");
    }
    for (int32_t i = 0; i < model->steps_count; i++) {
        Step *step = &model->steps[i];
        int kind, column, categories, indicator;
        if (!PyArg_ParseTuple(PyTuple_GetItem(steps, i), "iiiiddddd", &kind, &column, &categories, &indicator,
                              &step->impute, &step->mean, &step->scale, &step->unknown, &step->missing))
            goto failed;
        const int is_number = kind == NUMBER;
        if (kind < NUMBER || kind > ORDINAL || column < 0 || column >= self->columns || categories < 0 ||
            (inputs[column] && inputs[column] != (is_number ? 1 : 2))) {
            refuse("a step's kind or column is not valid");
            goto failed;
        }
        step->kind = (StepKind)kind;
        step->categories = categories;
        step->indicator = is_number && indicator;
        step->first = (int32_t)width;
        width += is_number ? 1 + step->indicator : kind == ONE_HOT ? categories : 1;
        if (width > INT32_MAX / 4) {
            refuse("the pipeline is too wide");
            goto failed;
        }
        if (is_number) {
            if (!inputs[column]) self->role[column] = model->numbers++;
            step->source = self->role[column];
        } else {
            self->role[column] = -1;
            self->text_step[model->texts] = column;
            step->source = model->texts++;
        }
        inputs[column] = is_number ? 1 : 2;
    }
    for (int32_t column = 0; column < self->columns; column++)
        if (!inputs[column]) {
            refuse("a column is read by no step");
            goto failed;
        }
    free(inputs);
    model->width = (int32_t)width;
    return 0;
failed:
    free(inputs);
    return -1;
}

/* Codes are checked when the dict is taken over; it is a copy of ours that nobody else holds. */
static int make_lookups(Kernel *self, PyObject *lookups) {
    const Model *model = &self->model;
    PyObject *own;
    if (PyTuple_Size(lookups) != model->texts || !(own = PyTuple_New(model->texts))) {
        return PyErr_Occurred() ? -1 : refuse("there is one lookup for each text step");
    }
    self->lookups = own;
    for (int32_t i = 0; i < model->steps_count; i++) {
        const Step *step = &model->steps[i];
        PyObject *copy, *key, *value;
        Py_ssize_t position = 0;
        if (step->kind == NUMBER) continue;
        copy = PyDict_Copy(PyTuple_GetItem(lookups, step->source));
        if (!copy || PyTuple_SetItem(own, step->source, copy) < 0) return -1;
        while (PyDict_Next(copy, &position, &key, &value)) {
            const long code = PyLong_AsLong(value);
            if (code == -1 && PyErr_Occurred()) return -1;
            if (code < 0 || code >= step->categories) return refuse("a category's code is out of range");
        }
    }
    return 0;
}

static int make_mirror(Model *model) {
    model->mirror = calloc((size_t)model->width + 1, sizeof *model->mirror);
    if (!model->mirror) return refuse("");
    /* A one-hot column or an indicator is never missing: it needs no second slot. */
    for (int32_t column = 0; column < model->width; column++) model->mirror[column] = column;
    model->slots = model->width;
    for (int32_t i = 0; i < model->steps_count; i++)
        if (model->steps[i].kind != ONE_HOT) model->mirror[model->steps[i].first] = model->slots++;
    if (model->slots == 0) model->slots = 1; /* leaves look at slot 0 */
    return 0;
}

static int take_array(PyObject *array, Py_buffer *view, char format, Py_ssize_t size, Py_ssize_t length) {
    if (PyObject_GetBuffer(array, view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0) return -1;
    if (view->ndim == 1 && view->itemsize == size && view->format && view->format[0] == format && !view->format[1] &&
        (length < 0 || view->shape[0] == length) && view->shape[0] < INT32_MAX)
        return 0;
    PyBuffer_Release(view);
    return refuse("node arrays differ in length or are not of their type");
}

/* forest: (features, base margin, logistic, offsets, left, right, feature, threshold, default_left) */
static int make_forest(Kernel *self, PyObject *forest) {
    static const char formats[] = {'i', 'i', 'i', 'i', 'f', '?'};
    static const Py_ssize_t sizes[] = {4, 4, 4, 4, 4, 1};
    Model *model = &self->model;
    PyObject *parts[6];
    Py_buffer views[6];
    double base;
    int features, held = 0, status = -1;
    if (!PyArg_ParseTuple(forest, "idpOOOOOO", &features, &base, &model->logistic, &parts[0], &parts[1], &parts[2],
                          &parts[3], &parts[4], &parts[5]))
        return -1;
    if (features != model->width) return refuse("the forest takes other columns than the pipeline makes");
    if (!isfinite((float)base)) return refuse("the base margin is not finite");
    model->base = (float)base;
    for (; held < 6; held++)
        if (take_array(parts[held], &views[held], formats[held], sizes[held], held < 2 ? -1 : views[1].shape[0]) < 0)
            goto done;
    if (views[0].shape[0] < 1) {
        refuse("tree offsets are not valid");
        goto done;
    }
    const Arrays arrays = {features, (int32_t)views[0].shape[0] - 1, (int32_t)views[1].shape[0], views[0].buf,
                           views[1].buf, views[2].buf, views[3].buf, views[4].buf, views[5].buf};
    const char *problem = compile_forest(model, &arrays);
    if (problem) {
        refuse(problem);
        goto done;
    }
    for (int32_t i = 0; i < model->blocks_count; i++)
        self->work += (double)model->blocks[i].trees * (model->blocks[i].depth + 1);
    status = 0;
done:
    while (held) PyBuffer_Release(&views[--held]);
    return status;
}

/* linear: (coefficients, intercept, logistic) */
static int make_linear(Kernel *self, PyObject *linear) {
    Model *model = &self->model;
    PyObject *coefficients;
    Py_buffer view;
    if (!PyArg_ParseTuple(linear, "Odp", &coefficients, &model->intercept, &model->logistic)) return -1;
    if (take_array(coefficients, &view, 'd', sizeof(double), model->width) < 0) return -1;
    model->coefficients = malloc(((size_t)model->width + 1) * sizeof(double));
    if (model->coefficients && model->width) memcpy(model->coefficients, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    model->bytes = (size_t)model->width * sizeof(double);
    return model->coefficients ? 0 : refuse("");
}

static void dealloc(PyObject *object) {
    Kernel *self = (Kernel *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_model(&self->model);
    free(self->role);
    free(self->text_step);
    Py_XDECREF(self->names);
    Py_XDECREF(self->lookups);
    release(object);
    Py_DECREF(type);
}

/* Kernel(names, steps, lookups, forest or None, linear or None). Raises ValueError for what does not fit together. */
static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *names, *steps, *lookups, *forest, *linear;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Kernel *self;
    if (keywords && PyDict_Size(keywords)) return refuse("Kernel takes no keywords"), NULL;
    if (!PyArg_ParseTuple(args, "OOOOO", &names, &steps, &lookups, &forest, &linear)) return NULL;
    if (!PyTuple_CheckExact(names) || PyTuple_Size(names) > INT32_MAX / 16) return refuse("names are a tuple"), NULL;
    if ((forest == Py_None) == (linear == Py_None)) return refuse("a kernel has a forest or a linear model"), NULL;
    self = (Kernel *)allocate(type, 0); /* all zeros */
    if (!self) return NULL;
    Py_INCREF(names);
    self->names = names;
    self->columns = (int32_t)PyTuple_Size(names);
    if (make_steps(self, steps) < 0 || make_lookups(self, lookups) < 0 || make_mirror(&self->model) < 0 ||
        (forest != Py_None ? make_forest(self, forest) : make_linear(self, linear)) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->work += self->model.width;
    return (PyObject *)self;
}

static PyObject *nbytes(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyLong_FromSize_t(((Kernel *)object)->model.bytes);
}

/* ---- the module -------------------------------------------------------------------------------------------------- */

#include "explain_door.h"

static PyMethodDef methods[] = {
    {"predict", (PyCFunction)(void (*)(void))predict, METH_FASTCALL, "Answer columns into an array."},
    {"predict_matrix", (PyCFunction)(void (*)(void))predict_matrix, METH_FASTCALL, "Answer a matrix into an array."},
    {"predict_row", predict_row, METH_O, "Answer one row."},
    {"nbytes", nbytes, METH_NOARGS, "Bytes of the compiled model."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, make}, {Py_tp_dealloc, dealloc}, {Py_tp_methods, methods},
    {Py_tp_doc, "A compiled pipeline and model."}, {0, NULL},
};

static PyType_Spec spec = {"tenon.bundle.kernel._kernel.Kernel", sizeof(Kernel), 0, Py_TPFLAGS_DEFAULT, slots};

static int add_type(PyObject *module, const char *name, PyType_Spec *of) {
    PyObject *type = PyType_FromSpec(of);
    int status = type ? PyModule_AddObjectRef(module, name, type) : -1;
    Py_XDECREF(type);
    return status;
}

/* use_vectors(most) -> what is used now: 0 none, 1 AVX2, 2 AVX-512. For tests and benches; the answers are the same. */
static PyObject *use_vectors(PyObject *module, PyObject *most) {
    const long wanted = PyLong_AsLong(most), there = (long)most_vectors();
    (void)module;
    if (PyErr_Occurred()) return NULL;
    vectors = (Vectors)(wanted < 0 || wanted > there ? there : wanted);
    return PyLong_FromSize_t((size_t)vectors);
}

static PyMethodDef functions[] = {
    {"use_vectors", use_vectors, METH_O, "Use these vector instructions at most; gives what is used."},
    {NULL, NULL, 0, NULL},
};

static int fill_module(PyObject *module) {
    vectors = most_vectors();
    if (add_type(module, "Kernel", &spec) < 0 || add_type(module, "Explainer", &explainer_spec) < 0) return -1;
    return PyModule_AddStringConstant(module, "SOURCE", TENON_SOURCE);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernel", "The compiled evaluator.", 0, functions, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void) {
    return PyModuleDef_Init(&definition);
}
