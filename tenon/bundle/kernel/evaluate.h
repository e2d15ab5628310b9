/* Preprocessing and model of one version, compiled: plain C99 that knows nothing of Python.
 *
 * The answers have the same bits as tenon/bundle/{pipeline,forest,linear}.py and as XGBoost. Therefore: float64 until a
 * tree looks at a value, float32 from there on, leaves added one by one in the order of the trees, and no compiler
 * option that reorders or fuses (-ffp-contract=off; never -ffast-math).
 */
#ifndef TENON_EVALUATE_H
#define TENON_EVALUATE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* So many walks (one row through sixteen trees, or sixteen rows through one tree) are under way at once. Each step of a walk
 * waits for memory; the others do not wait for each other. */
enum { LANES = 16 };

enum { UNKNOWN = -1, MISSING = -2 };

typedef enum { NUMBER = 0, ONE_HOT = 1, ORDINAL = 2 } StepKind;

/* One transform of the pipeline. It writes matrix columns first, first + 1, ... */
typedef struct {
    StepKind kind;
    int32_t source; /* which number input, or which text step's codes */
    int32_t first;
    int32_t categories;
    int32_t indicator; /* a number's second column says whether it was missing */
    double impute, mean, scale; /* NaN, 0, 1 where the step has none */
    double unknown, missing;
} Step;

/* Trees in blocks of LANES. In a padded block each tree is complete: 1 << depth splits (the first is unused; the children
 * of i are 2i and 2i + 1), then its 1 << depth leaves. A linked block is for trees that would grow too much by that: two
 * siblings side by side, and a leaf that leads to itself. */
typedef struct {
    float threshold;
    uint32_t slot;
} Split;

typedef struct {
    float threshold; /* of a leaf -inf: nothing is less */
    uint32_t slot;
    uint32_t right;
    float leaf;
} Node;

typedef struct {
    int32_t trees; /* LANES, in the last block perhaps fewer */
    int32_t depth;
    int32_t padded;
    size_t splits, leaves; /* of its first tree, when padded */
    uint32_t roots[LANES]; /* when linked */
} Block;

typedef struct {
    /* Preprocessing */
    int32_t width, numbers, texts, steps_count;
    Step *steps;
    /* Forest: a row is a vector of slots. Slot c holds column c with missing as -inf; slot width + c, which exists for
     * numeric and ordinal columns only (mirror[c]), holds it with missing as +inf. A split whose default side is left
     * reads the first, one whose default is right the second: one comparison decides for present and missing alike. */
    int32_t slots;
    int32_t *mirror;
    int32_t trees, blocks_count;
    int32_t shallow; /* vectors decide all of its trees */
    Block *blocks;
    Split *splits;
    float *leaves;
    Node *nodes;
    size_t bytes;
    float base;
    /* Linear */
    double *coefficients;
    double intercept;
    int logistic;
} Model;

/* A column of float64 anywhere in memory. */
typedef struct {
    const char *data;
    ptrdiff_t stride;
} Numbers;

static inline double number_at(const Numbers *column, ptrdiff_t row) {
    double value;
    memcpy(&value, column->data + row * column->stride, sizeof value); /* it may be unaligned */
    return value;
}

static inline double prepared(const Step *step, double value) {
    if (isnan(value)) value = step->impute;
    return (value - step->mean) / step->scale;
}

static inline double code_value(const Step *step, int32_t code) {
    return code >= 0 ? (double)code : code == MISSING ? step->missing : step->unknown;
}

static inline void put_slots(const Model *model, float *slots, size_t stride, int32_t column, double wide) {
    float value = (float)wide;
    int is_missing = isnan(value);
    slots[(size_t)column * stride] = is_missing ? -INFINITY : value;
    slots[(size_t)model->mirror[column] * stride] = is_missing ? INFINITY : value;
}

/* One row as slots, for a forest, each `stride` behind the other, over zeros. `codes` are the text steps' codes of all
 * rows, step by step. */
static inline void fill_slots(const Model *model, const Numbers *numbers, const int32_t *codes, ptrdiff_t rows,
                              ptrdiff_t row, float *slots, size_t stride) {
    for (int32_t i = 0; i < model->steps_count; i++) {
        const Step *step = &model->steps[i];
        if (step->kind == NUMBER) {
            double value = number_at(&numbers[step->source], row);
            put_slots(model, slots, stride, step->first, prepared(step, value));
            if (step->indicator) slots[(size_t)(step->first + 1) * stride] = isnan(value) ? 1.0f : 0.0f;
        } else {
            int32_t code = codes[step->source * rows + row];
            if (step->kind == ORDINAL)
                put_slots(model, slots, stride, step->first, code_value(step, code));
            else if (code >= 0)
                slots[(size_t)(step->first + code) * stride] = 1.0f;
        }
    }
}

/* One row as float64, for a linear model. */
static void fill_wide(const Model *model, const Numbers *numbers, const int32_t *codes, ptrdiff_t rows, ptrdiff_t row,
                      double *wide) {
    memset(wide, 0, (size_t)model->width * sizeof *wide);
    for (int32_t i = 0; i < model->steps_count; i++) {
        const Step *step = &model->steps[i];
        if (step->kind == NUMBER) {
            double value = number_at(&numbers[step->source], row);
            wide[step->first] = prepared(step, value);
            if (step->indicator) wide[step->first + 1] = isnan(value) ? 1.0 : 0.0;
        } else {
            int32_t code = codes[step->source * rows + row];
            if (step->kind == ORDINAL)
                wide[step->first] = code_value(step, code);
            else if (code >= 0)
                wide[step->first + code] = 1.0;
        }
    }
}

/* A step down: 2i when left, 2i + 1 when right. Slots and thresholds are never NaN, so `>=` is "not less". */
static inline uint32_t below(const Split *tree, uint32_t at, const float *slots, size_t stride) {
    Split split = tree[at];
    return 2 * at + (slots[split.slot * stride] >= split.threshold);
}

/* One row through the trees of a padded block. */
static inline float add_padded(const Model *model, const Block *block, const float *slots, float total) {
    const Split *splits = model->splits + block->splits;
    const float *leaves = model->leaves + block->leaves;
    const uint32_t size = UINT32_C(1) << block->depth;
    uint32_t at[LANES];
    for (int lane = 0; lane < LANES; lane++) at[lane] = 1;
    for (int32_t level = 0; level < block->depth; level++)
        for (int lane = 0; lane < LANES; lane++) at[lane] = below(splits + (size_t)lane * size, at[lane], slots, 1);
    for (int lane = 0; lane < block->trees; lane++) total += leaves[(size_t)lane * size + at[lane] - size];
    return total;
}

static inline float add_linked(const Model *model, const Block *block, const float *slots, float total) {
    uint32_t at[LANES];
    memcpy(at, block->roots, sizeof at);
    for (uint32_t moved = 1; moved != 0;) {
        moved = 0;
        for (int lane = 0; lane < LANES; lane++) {
            const Node *node = &model->nodes[at[lane]];
            uint32_t next = node->right - (slots[node->slot] < node->threshold);
            moved |= next ^ at[lane];
            at[lane] = next;
        }
    }
    for (int lane = 0; lane < block->trees; lane++) total += model->nodes[at[lane]].leaf;
    return total;
}

/* LANES rows, slot by slot side by side, through the trees of a block, one tree after the other. */
static inline void add_rows(const Model *model, const Block *block, const float *slots, float *totals) {
    uint32_t at[LANES];
    for (int32_t tree = 0; tree < block->trees; tree++) {
        if (block->padded) {
            const uint32_t size = UINT32_C(1) << block->depth;
            const Split *splits = model->splits + block->splits + (size_t)tree * size;
            const float *leaves = model->leaves + block->leaves + (size_t)tree * size;
            for (int lane = 0; lane < LANES; lane++) at[lane] = 1;
            for (int32_t level = 0; level < block->depth; level++)
                for (int lane = 0; lane < LANES; lane++) at[lane] = below(splits, at[lane], slots + lane, LANES);
            for (int lane = 0; lane < LANES; lane++) totals[lane] += leaves[at[lane] - size];
        } else {
            for (int lane = 0; lane < LANES; lane++) at[lane] = block->roots[tree];
            for (uint32_t moved = 1; moved != 0;) {
                moved = 0;
                for (int lane = 0; lane < LANES; lane++) {
                    const Node *node = &model->nodes[at[lane]];
                    uint32_t next = node->right - (slots[(size_t)node->slot * LANES + lane] < node->threshold);
                    moved |= next ^ at[lane];
                    at[lane] = next;
                }
            }
            for (int lane = 0; lane < LANES; lane++) totals[lane] += model->nodes[at[lane]].leaf;
        }
    }
}

#include "vectors.h"

/* XGBoost's float32 sigmoid, step by step. */
static inline float sigmoid32(float margin) {
    float power = -margin < 88.7f ? -margin : 88.7f;
    float denominator = expf(power) + 1.0f + 1e-16f;
    return 1.0f / denominator;
}

static inline double forest_answer(const Model *model, float margin, int raw) {
    return (double)(model->logistic && !raw ? sigmoid32(margin) : margin);
}

static double linear_answer(const Model *model, const double *wide, int raw) {
    double total = model->intercept;
    for (int32_t i = 0; i < model->width; i++) total += wide[i] * model->coefficients[i];
    if (raw || !model->logistic) return total;
    double power = exp(-fabs(total)); /* of a number that is never positive: no overflow on either side */
    return (total >= 0 ? 1.0 : power) / (1.0 + power);
}

/* How many float32 of scratch `evaluate` needs: the slots of the rows it works on at a time, in groups of LANES, the last
 * of them perhaps not full; and room to begin where a vector may. */
enum { CHUNK_FLOATS = 8192, ALIGNMENT = 64 };

static inline ptrdiff_t groups_at_once(const Model *model, ptrdiff_t rows) {
    const ptrdiff_t fit = CHUNK_FLOATS / (model->slots ? model->slots : 1) / LANES, all = (rows + LANES - 1) / LANES;
    return all < fit || fit < 1 ? (all < 1 || fit < 1 ? 1 : all) : fit;
}

/* Rows that do not fill a group go one by one, unless vectors decide all trees: then a group costs no more than these. */
enum { FEW = 8 };

static inline ptrdiff_t rows_in_groups(const Model *model, ptrdiff_t count) {
    const ptrdiff_t rest = count % LANES;
    return rest && !(vectors != WALKS && model->shallow && rest >= FEW) ? count - rest : count;
}

static inline size_t scratch_bytes(const Model *model, ptrdiff_t rows) {
    if (model->coefficients) return (size_t)model->width * sizeof(double);
    if (rows == 1) return (size_t)model->slots * sizeof(float) + ALIGNMENT;
    return (size_t)groups_at_once(model, rows) * LANES * ((size_t)model->slots + 1) * sizeof(float) + ALIGNMENT;
}

static float row_margin(const Model *model, const float *slots) {
    float total = model->base;
    for (int32_t i = 0; i < model->blocks_count; i++) {
        const Block *block = &model->blocks[i];
        total = block->padded ? add_padded(model, block, slots, total) : add_linked(model, block, slots, total);
    }
    return total;
}

/* Answers for all rows. `scratch` has scratch_bytes(model, rows) bytes, aligned for doubles. */
static void evaluate(const Model *model, const Numbers *numbers, const int32_t *codes, ptrdiff_t rows, int raw,
                     void *scratch, double *out) {
    if (model->coefficients) {
        for (ptrdiff_t row = 0; row < rows; row++) {
            fill_wide(model, numbers, codes, rows, row, scratch);
            out[row] = linear_answer(model, scratch, raw);
        }
        return;
    }
    const ptrdiff_t chunk = groups_at_once(model, rows) * LANES;
    const size_t group = (size_t)model->slots * LANES;
    float *slots = (float *)(((uintptr_t)scratch + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
    float *totals = slots + (size_t)chunk * (size_t)model->slots;
    for (ptrdiff_t start = 0; start < rows; start += chunk) {
        const ptrdiff_t count = rows - start < chunk ? rows - start : chunk, together = rows_in_groups(model, count);
        const ptrdiff_t groups = (together + LANES - 1) / LANES;
        memset(slots, 0, (size_t)groups * group * sizeof *slots);
        for (ptrdiff_t row = 0; row < together; row++)
            fill_slots(model, numbers, codes, rows, start + row, slots + (size_t)(row / LANES) * group + row % LANES, LANES);
        for (ptrdiff_t row = 0; row < groups * LANES; row++) totals[row] = model->base;
        for (int32_t i = 0; i < model->blocks_count; i++) add_groups(model, &model->blocks[i], slots, groups, totals);
        for (ptrdiff_t row = 0; row < together; row++) out[start + row] = forest_answer(model, totals[row], raw);
        for (ptrdiff_t row = together; row < count; row++) {
            memset(slots, 0, (size_t)model->slots * sizeof *slots);
            fill_slots(model, numbers, codes, rows, start + row, slots, 1);
            out[start + row] = forest_answer(model, row_margin(model, slots), raw);
        }
    }
}

#endif
