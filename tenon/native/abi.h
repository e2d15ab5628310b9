/* Python.h, or where a system has Python without its headers, the part of the stable ABI that module.c uses. By its
 * definition that part is the same in every Python 3 from 3.11 on; `make test-kernel` builds and tests with it. */
#ifndef TENON_PYTHON_H
#define TENON_PYTHON_H

#ifndef TENON_NO_PYTHON_H
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#else

#include <stddef.h>
#include <stdint.h>

typedef ptrdiff_t Py_ssize_t;
typedef struct _typeobject PyTypeObject;
typedef struct { Py_ssize_t ob_refcnt; PyTypeObject *ob_type; } PyObject;
#define PyObject_HEAD PyObject ob_base;

typedef PyObject *(*PyCFunction)(PyObject *, PyObject *);
typedef void (*freefunc)(void *);
typedef PyObject *(*allocfunc)(PyTypeObject *, Py_ssize_t);
typedef struct { const char *ml_name; PyCFunction ml_meth; int ml_flags; const char *ml_doc; } PyMethodDef;
typedef struct { int slot; void *pfunc; } PyType_Slot;
typedef struct { const char *name; int basicsize; int itemsize; unsigned int flags; PyType_Slot *slots; } PyType_Spec;
typedef struct { int slot; void *value; } PyModuleDef_Slot;
typedef struct { PyObject ob_base; PyObject *(*m_init)(void); Py_ssize_t m_index; PyObject *m_copy; } PyModuleDef_Base;
struct PyModuleDef {
    PyModuleDef_Base m_base;
    const char *m_name;
    const char *m_doc;
    Py_ssize_t m_size;
    PyMethodDef *m_methods;
    PyModuleDef_Slot *m_slots;
    void *m_traverse, *m_clear, *m_free;
};
typedef struct {
    void *buf;
    PyObject *obj;
    Py_ssize_t len, itemsize;
    int readonly, ndim;
    char *format;
    Py_ssize_t *shape, *strides, *suboffsets;
    void *internal;
} Py_buffer;

enum { METH_NOARGS = 0x0004, METH_O = 0x0008, METH_FASTCALL = 0x0080 };
enum { PyBUF_WRITABLE = 0x0001, PyBUF_FORMAT = 0x0004, PyBUF_STRIDES = 0x0018, PyBUF_C_CONTIGUOUS = 0x0038 };
enum { Py_mod_exec = 2, Py_tp_alloc = 47, Py_tp_dealloc = 52, Py_tp_doc = 56, Py_tp_methods = 64, Py_tp_new = 65, Py_tp_free = 74 };
#define Py_TPFLAGS_DEFAULT 0
#define PyModuleDef_HEAD_INIT {{1, NULL}, NULL, 0, NULL}
#define PyMODINIT_FUNC __attribute__((visibility("default"))) PyObject *

extern PyTypeObject PyDict_Type, PyList_Type, PyTuple_Type, PyUnicode_Type;
extern PyObject _Py_NoneStruct, _Py_TrueStruct, *PyExc_KeyError, *PyExc_TypeError, *PyExc_ValueError;
#define Py_None (&_Py_NoneStruct)
#define Py_True (&_Py_TrueStruct)
#define Py_TYPE(object) (((PyObject *)(object))->ob_type)
#define PyDict_CheckExact(object) (Py_TYPE(object) == &PyDict_Type)
#define PyList_CheckExact(object) (Py_TYPE(object) == &PyList_Type)
#define PyTuple_CheckExact(object) (Py_TYPE(object) == &PyTuple_Type)
#define Py_INCREF(object) Py_IncRef((PyObject *)(object))
#define Py_DECREF(object) Py_DecRef((PyObject *)(object))
#define Py_XDECREF(object) Py_DecRef((PyObject *)(object))
#define Py_BEGIN_ALLOW_THREADS { void *thread_ = PyEval_SaveThread();
#define Py_END_ALLOW_THREADS PyEval_RestoreThread(thread_); }

void Py_IncRef(PyObject *), Py_DecRef(PyObject *);
int PyArg_ParseTuple(PyObject *, const char *, ...);
void PyBuffer_Release(Py_buffer *);
int PyObject_GetBuffer(PyObject *, Py_buffer *, int);
PyObject *PyObject_GetItem(PyObject *, PyObject *), *PySequence_List(PyObject *);
PyObject *PyDict_Copy(PyObject *), *PyDict_GetItemWithError(PyObject *, PyObject *);
int PyDict_Next(PyObject *, Py_ssize_t *, PyObject **, PyObject **);
Py_ssize_t PyDict_Size(PyObject *), PyList_Size(PyObject *), PyTuple_Size(PyObject *);
PyObject *PyErr_Format(PyObject *, const char *, ...), *PyErr_NoMemory(void), *PyErr_Occurred(void);
void PyErr_Clear(void), PyErr_SetObject(PyObject *, PyObject *), PyErr_SetString(PyObject *, const char *);
int PyBytes_AsStringAndSize(PyObject *, char **, Py_ssize_t *);
char *PyBytes_AsString(PyObject *);
PyObject *PyBytes_FromStringAndSize(const char *, Py_ssize_t);
const char *PyUnicode_AsUTF8AndSize(PyObject *, Py_ssize_t *);
void *PyEval_SaveThread(void), PyEval_RestoreThread(void *);
double PyFloat_AsDouble(PyObject *);
PyObject *PyFloat_FromDouble(double), *PyLong_FromSize_t(size_t);
long PyLong_AsLong(PyObject *);
PyObject *PyList_GetItem(PyObject *, Py_ssize_t), *PyTuple_GetItem(PyObject *, Py_ssize_t), *PyTuple_New(Py_ssize_t);
int PyTuple_SetItem(PyObject *, Py_ssize_t, PyObject *);
PyObject *PyModuleDef_Init(struct PyModuleDef *);
int PyModule_AddObjectRef(PyObject *, const char *, PyObject *);
int PyModule_AddStringConstant(PyObject *, const char *, const char *);
PyObject *PyType_FromSpec(PyType_Spec *);
void *PyType_GetSlot(PyTypeObject *, int);

#endif
#endif
