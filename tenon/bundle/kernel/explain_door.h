/* Python's door to `explain.h`: a type `Explainer`, made from arrays by tenon/bundle/contributions.py. Part of module.c. */
#ifndef TENON_EXPLAIN_DOOR_H
#define TENON_EXPLAIN_DOOR_H

#include "explain.h"

typedef struct {
    PyObject_HEAD
    Explainer explainer;
} ExplainerObject;

static void explainer_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_explainer(&((ExplainerObject *)object)->explainer);
    release(object);
    Py_DECREF(type);
}

/* Explainer(features, base margin, offsets, left, right, feature, threshold, default_left, cover). Raises ValueError. */
static PyObject *explainer_make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static const char formats[] = {'i', 'i', 'i', 'i', 'f', '?', 'f'};
    static const Py_ssize_t sizes[] = {4, 4, 4, 4, 4, 1, 4};
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    ExplainerObject *self = NULL;
    PyObject *parts[7], *result = NULL;
    Py_buffer views[7];
    double base;
    int features, held = 0;
    if (keywords && PyDict_Size(keywords)) return refuse("Explainer takes no keywords"), NULL;
    if (!PyArg_ParseTuple(args, "idOOOOOOO", &features, &base, &parts[0], &parts[1], &parts[2], &parts[3], &parts[4],
                          &parts[5], &parts[6]))
        return NULL;
    for (; held < 7; held++)
        if (take_array(parts[held], &views[held], formats[held], sizes[held], held < 2 ? -1 : views[1].shape[0]) < 0)
            goto done;
    if (views[0].shape[0] < 1 || !isfinite((float)base)) {
        refuse("tree offsets or base margin are not valid");
        goto done;
    }
    self = (ExplainerObject *)allocate(type, 0); /* all zeros */
    if (!self) goto done;
    const Arrays arrays = {features, (int32_t)views[0].shape[0] - 1, (int32_t)views[1].shape[0], views[0].buf,
                           views[1].buf, views[2].buf, views[3].buf, views[4].buf, views[5].buf};
    const char *problem = make_explainer(&self->explainer, &arrays, views[6].buf, (float)base);
    if (problem) {
        refuse(problem);
        Py_DECREF(self);
        goto done;
    }
    result = (PyObject *)self;
done:
    while (held) PyBuffer_Release(&views[--held]);
    return result;
}

static int is_matrix(const Py_buffer *view, const char *format, Py_ssize_t size, Py_ssize_t columns) {
    return view->ndim == 2 && is_type(view, format, size) && view->shape[1] == columns;
}

/* contributions(matrix, out): float32 (rows, features) into float64 (rows, features + 1), both contiguous. */
static PyObject *explainer_contributions(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const Explainer *self = &((ExplainerObject *)object)->explainer;
    Py_buffer matrix, out;
    PyObject *result = NULL;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "contributions(matrix, out)");
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &matrix, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0) return NULL;
    if (PyObject_GetBuffer(args[1], &out, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) goto no_out;
    if (!is_matrix(&matrix, "f", sizeof(float), self->features) ||
        !is_matrix(&out, "d", sizeof(double), (Py_ssize_t)self->features + 1) || matrix.shape[0] != out.shape[0]) {
        refuse("the matrix is float32 with a column for each feature, the room for answers float64 with one more");
        goto done;
    }
    double *scratch = malloc(explain_scratch(self, matrix.shape[0]));
    if (!scratch) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    explain(self, matrix.buf, matrix.shape[0], scratch, out.buf);
    Py_END_ALLOW_THREADS
    free(scratch);
    result = Py_None;
    Py_IncRef(result);
done:
    PyBuffer_Release(&out);
no_out:
    PyBuffer_Release(&matrix);
    return result;
}

static PyObject *explainer_nbytes(PyObject *object, PyObject *unused) {
    const Explainer *self = &((ExplainerObject *)object)->explainer;
    (void)unused;
    return PyLong_FromSize_t((size_t)self->offsets[self->trees] * sizeof(Explained));
}

static PyMethodDef explainer_methods[] = {
    {"contributions", (PyCFunction)(void (*)(void))explainer_contributions, METH_FASTCALL, "Explain a matrix into an array."},
    {"nbytes", explainer_nbytes, METH_NOARGS, "Bytes of the explainer."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot explainer_slots[] = {
    {Py_tp_new, explainer_make}, {Py_tp_dealloc, explainer_dealloc}, {Py_tp_methods, explainer_methods},
    {Py_tp_doc, "A forest whose margins are explained."}, {0, NULL},
};

static PyType_Spec explainer_spec = {
    "tenon.bundle.kernel._kernel.Explainer", sizeof(ExplainerObject), 0, Py_TPFLAGS_DEFAULT, explainer_slots,
};

#endif
