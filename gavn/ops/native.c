/* Modulated deformable convolution on a CPU: values between pixels are found for a few output pixels at a
 * time and multiplied by the weights before they leave the cache. `deform_native.py` calls this. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define INLINE static __inline
#define PREFETCH(address) (void)(address)
#endif
#if defined(__GNUC__) && !defined(__clang__)
#define INDEPENDENT _Pragma("GCC ivdep") /* turns of a loop; more arrays than gcc compares at run time */
#else
#define INDEPENDENT
#endif
#if defined(_MSC_VER)
#define restrict __restrict
#endif

enum {
    BLOCK = 16,  /* output pixels whose columns exist at once; a multiple of TILE */
    TILE = 4,    /* pixels that are multiplied by the weights together */
    PANEL = 3,   /* vectors of outputs that are computed together: with TILE, what registers hold */
    AHEAD = 2,   /* pixels whose offsets are fetched early */
    BORDER = 2   /* zeros around an image: points beyond see nothing else, not even times zero */
};

typedef struct {
    const float *x;     /* (n, height + 4, width + 4, channels), BORDER included, then 4 numbers more */
    const void *offset; /* per output pixel (deformable groups, taps, 2), `offset_step` numbers apart */
    const void *mask;   /* per output pixel (deformable groups, taps) */
    const float *weight; /* (groups, units of a group, taps, unit, row) */
    const float *bias;   /* (groups, row) */
    float *result;       /* (n, out_height, out_width, outputs) */
    long long bfloat16;  /* offsets and masks are, else float32 */
    long long offset_step, mask_step;
    long long height, width, out_height, out_width;
    long long channels, outputs, groups, deform_groups;
    long long unit; /* neighbouring channels that share group and deformable group */
    long long row;  /* outputs of a group, filled up to a multiple of 8 */
    long long kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
    long long sigmoid; /* masks come raw */
    double slope;      /* of the LeakyReLU; 1 for none */
} Layer;

typedef struct {
    int points;          /* deformable groups x taps */
    float *y, *x;        /* (points), of unmoved taps of the first output pixel, from the border's corner */
    float *numbers;      /* (3 points), offsets and masks as float32 */
    float *mask;         /* (points) after the sigmoid */
    int32_t *corner;     /* (points), where the upper left of four pixels lies in an image */
    float *share;        /* (4, points), what each of the four counts */
    float *columns;      /* (BLOCK, units, taps, unit), and some more */
} Scratch;

typedef struct {
    int64_t image;
    int row, column;
} Place;

#define NAME(name) name##_plain
#define TARGET
#define LANES 4
#include "native_kernel.h"
#undef NAME
#undef TARGET
#undef LANES

#if defined(__GNUC__) && defined(__x86_64__)
#define NAME(name) name##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#include "native_kernel.h"
static int has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
#define convolve_avx2 convolve_plain
static int has_avx2(void)
{
    return 0;
}
#endif

/* Memory for one thread, in one piece that starts at `y`; its `y` is NULL where there is none. */
static Scratch make_scratch(const Layer *layer)
{
    const int taps = (int)(layer->kernel_y * layer->kernel_x);
    const size_t points = (size_t)(layer->deform_groups * taps);
    Scratch s = {0};
    s.points = (int)points;
    s.y = calloc(11 * points + (size_t)(BLOCK * layer->channels * taps) + 4, sizeof(float));
    if (!s.y)
        return s;
    s.x = s.y + points;
    s.numbers = s.x + points;
    s.mask = s.numbers + 3 * points;
    s.corner = (int32_t *)(s.mask + points);
    s.share = s.mask + 2 * points;
    s.columns = s.share + 4 * points;
    for (int q = 0; q < s.points; q++) {
        const int tap = q % taps;
        s.y[q] = (float)(tap / layer->kernel_x * layer->dilation_y - layer->padding_y + BORDER);
        s.x[q] = (float)(tap % layer->kernel_x * layer->dilation_x - layer->padding_x + BORDER);
    }
    return s;
}

static PyObject *convolve(PyObject *module, PyObject *args)
{
    Layer l;
    long long x, offset, mask, weight, bias, result, first, last;
    if (!PyArg_ParseTuple(
            args, "(LLLLLL)(LLL)(LLLL)(LLLLLL)(LLLLLLLL)LdLL", &x, &offset, &mask, &weight, &bias, &result,
            &l.bfloat16, &l.offset_step, &l.mask_step, &l.height, &l.width, &l.out_height, &l.out_width,
            &l.channels, &l.outputs, &l.groups, &l.deform_groups, &l.unit, &l.row, &l.kernel_y, &l.kernel_x,
            &l.stride_y, &l.stride_x, &l.padding_y, &l.padding_x, &l.dilation_y, &l.dilation_x, &l.sigmoid,
            &l.slope, &first, &last))
        return NULL;
    l.x = (const float *)(intptr_t)x;
    l.offset = (const void *)(intptr_t)offset;
    l.mask = (const void *)(intptr_t)mask;
    l.weight = (const float *)(intptr_t)weight;
    l.bias = (const float *)(intptr_t)bias;
    l.result = (float *)(intptr_t)result;
    Scratch scratch;
    Py_BEGIN_ALLOW_THREADS
    scratch = make_scratch(&l);
    if (scratch.y)
        (has_avx2() ? convolve_avx2 : convolve_plain)(&l, &scratch, first, last);
    free(scratch.y);
    Py_END_ALLOW_THREADS
    if (!scratch.y)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"convolve", convolve, METH_VARARGS, "Output pixels `first` to before `last`; see `deform_native`."},
    {NULL, NULL, 0, NULL},
};

static int add_constants(PyObject *module)
{
    return PyModule_AddIntConstant(module, "QUICK", has_avx2());
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)add_constants}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "Compiled modulated deformable convolution.", 0, methods, slots,
    NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
