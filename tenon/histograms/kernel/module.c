/* Counting numbers into bins and codes into levels. `tenon.histograms.reference` gives the same counts in numpy. */
#include "abi.h"

#include <stdint.h>

#ifdef TENON_NO_PYTHON_H
enum { METH_VARARGS = 0x0001 };
#endif

#define SIDE_BY_SIDE 8 /* Searches that wait for memory together; the processor works on all of them at once. */

static int take(PyObject *object, Py_buffer *view, Py_ssize_t size, int flags) {
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | flags) < 0) return -1;
    if (view->itemsize == size && view->len % size == 0) return 0;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "an array has another type than it should");
    return -1;
}

static int take_all(PyObject **object, Py_buffer *view, const Py_ssize_t *size) {
    int held = 0;
    for (; held < 3; held++)
        if (take(object[held], &view[held], size[held], held == 2 ? PyBUF_WRITABLE : 0) < 0) {
            while (held) PyBuffer_Release(&view[--held]);
            return -1;
        }
    return 0;
}

static void release_all(Py_buffer *view) {
    for (int i = 0; i < 3; i++) PyBuffer_Release(&view[i]);
}

/* How many of `count` sorted edges are below each of some values: bisection without a branch, the same steps for all. */
static inline void bisect(const double *values, const double *edges, size_t count, size_t *place, int some) {
    for (int k = 0; k < some; k++) place[k] = 0;
    while (count > 1) {
        const size_t half = count / 2;
        for (int k = 0; k < some; k++) place[k] += edges[place[k] + half - 1] < values[k] ? half : 0;
        count -= half;
    }
    if (count)
        for (int k = 0; k < some; k++) place[k] += edges[place[k]] < values[k];
}

static void count_values(const double *values, size_t rows, const double *edges, size_t count, int64_t *counts) {
    size_t row = 0, place[SIDE_BY_SIDE];
    for (; row + SIDE_BY_SIDE <= rows; row += SIDE_BY_SIDE) {
        bisect(values + row, edges, count, place, SIDE_BY_SIDE);
        for (int k = 0; k < SIDE_BY_SIDE; k++) counts[values[row + k] != values[row + k] ? count + 1 : place[k]]++;
    }
    for (; row < rows; row++) {
        bisect(values + row, edges, count, place, 1);
        counts[values[row] != values[row] ? count + 1 : place[0]]++;
    }
}

/* count_numbers(values, edges, counts): counts has a place for each bin, edges + 1, and one for NaN. */
static PyObject *count_numbers(PyObject *self, PyObject *args) {
    static const Py_ssize_t size[3] = {8, 8, 8};
    PyObject *object[3];
    Py_buffer view[3];
    (void)self;
    if (!PyArg_ParseTuple(args, "OOO", &object[0], &object[1], &object[2])) return NULL;
    if (take_all(object, view, size) < 0) return NULL;
    if (view[2].len != view[1].len + 16) {
        release_all(view);
        PyErr_SetString(PyExc_ValueError, "counts has a place for each bin and one for missing values");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    count_values(view[0].buf, (size_t)view[0].len / 8, view[1].buf, (size_t)view[1].len / 8, view[2].buf);
    Py_END_ALLOW_THREADS
    release_all(view);
    Py_INCREF(Py_None);
    return Py_None;
}

static int count_levels(const int32_t *codes, size_t rows, const int32_t *places, size_t levels, int64_t *counts,
                        size_t last) {
    for (size_t i = 0; i < levels; i++)
        if (places[i] < 0 || (size_t)places[i] > last) return -1;
    for (size_t row = 0; row < rows; row++)
        if (codes[row] < -1 || codes[row] >= (int64_t)levels) return -1;
    for (size_t row = 0; row < rows; row++) counts[codes[row] < 0 ? (int64_t)last : places[codes[row]]]++;
    return 0;
}

/* count_codes(codes, places, counts): the last of counts is for code -1. */
static PyObject *count_codes(PyObject *self, PyObject *args) {
    static const Py_ssize_t size[3] = {4, 4, 8};
    PyObject *object[3];
    Py_buffer view[3];
    int status = -1;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOO", &object[0], &object[1], &object[2])) return NULL;
    if (take_all(object, view, size) < 0) return NULL;
    if (view[2].len) {
        Py_BEGIN_ALLOW_THREADS
        status = count_levels(view[0].buf, (size_t)view[0].len / 4, view[1].buf, (size_t)view[1].len / 4, view[2].buf,
                              (size_t)view[2].len / 8 - 1);
        Py_END_ALLOW_THREADS
    }
    release_all(view);
    if (status < 0) {
        PyErr_SetString(PyExc_ValueError, "a code or a place is out of range");
        return NULL;
    }
    Py_INCREF(Py_None);
    return Py_None;
}

static PyMethodDef functions[] = {
    {"count_numbers", count_numbers, METH_VARARGS, "Add values to the counts of their bins."},
    {"count_codes", count_codes, METH_VARARGS, "Add codes to the counts of their places."},
    {NULL, NULL, 0, NULL},
};

static int fill_module(PyObject *module) {
    return PyModule_AddStringConstant(module, "SOURCE", TENON_SOURCE);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernel", "Counting.", 0, functions, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void) {
    return PyModuleDef_Init(&definition);
}
