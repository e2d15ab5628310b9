/* Exact path-dependent TreeSHAP: how much each column of the matrix adds to a forest's margin. Plain C99.
 *
 * A leaf v below a path answers v where the row fulfils every split of the path. Of a set of columns that are known, it
 * answers v times, over the path's columns, o where the column is known (1 when the row takes all of its branches, else 0)
 * and z where it is not (the share of the training rows, by cover, that took them). The Shapley value of column i is
 * that product's multilinear extension, integrated (Owen 1972):
 *
 *     v * integral over t in [0,1] of (o_i - z_i) * product over j != i of (z_j + t * (o_j - z_j))
 *
 * a polynomial of degree (columns of the path - 1), which Gauss-Legendre quadrature integrates exactly with half as many
 * points. One walk down and one up a tree adds up all of its leaves, a number for each point: O(nodes * points) for a
 * tree, instead of O(leaves * depth^2), and as every factor lies in (0, 1] nothing cancels. See Lundberg et al. (2018),
 * Yu et al., "Linear TreeSHAP" (2022), Wettenstein et al., "Quadrature-TreeSHAP" (2026).
 */
#ifndef TENON_EXPLAIN_H
#define TENON_EXPLAIN_H

#include "compile.h"

enum { MAX_POINTS = 64, ROWS_TOGETHER = 16 };

/* Bytes of scratch that one call may need; trees that would need more are not explained. */
#define MOST_SCRATCH ((size_t)256 << 20)

typedef struct {
    float threshold;
    int32_t feature; /* of a leaf -1 */
    uint32_t left;   /* in its tree; the right child is `right` */
    uint32_t right;
    uint32_t earlier; /* the nearest node above, or this one, that a split on the same feature leads to; 0: there is none */
    int32_t default_left;
    double ratio; /* cover of this node over that of its parent */
    double share; /* product of the ratios of all edges down to here that are of the parent's feature */
    double leaf;
} Explained;

typedef struct {
    int32_t features, trees, points;
    int32_t *offsets;
    Explained *nodes;
    double base; /* what the forest answers when nothing is known */
    uint32_t largest; /* nodes of the largest tree */
    double t[MAX_POINTS], weight[MAX_POINTS], cold[MAX_POINTS];
} Explainer;

/* Points and weights of Gauss-Legendre quadrature on [0, 1], by Newton's method. */
static void place_points(Explainer *self) {
    const int32_t n = self->points;
    for (int32_t i = 0; i < n; i++) {
        double x = cos(3.14159265358979323846 * (i + 0.75) / (n + 0.5)), slope = 1.0;
        for (int round = 0; round < 100; round++) {
            double before = 0.0, value = 1.0;
            for (int32_t k = 1; k <= n; k++) {
                const double next = ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k;
                before = value;
                value = next;
            }
            slope = n * (x * value - before) / (x * x - 1.0);
            const double step = value / slope;
            x -= step;
            if (fabs(step) < 1e-16) break;
        }
        self->t[i] = (1.0 + x) / 2.0;
        self->weight[i] = 1.0 / ((1.0 - x * x) * slope * slope);
        self->cold[i] = -1.0 / (1.0 - self->t[i]);
    }
}

/* Of a split: which node above it, in its tree, was led to by a split on the same feature. `parent` is of each node. */
static uint32_t find_earlier(const Explained *tree, const uint32_t *parent, uint32_t node, int32_t feature) {
    while (node) {
        if (tree[parent[node]].feature == feature) return node;
        node = parent[node];
    }
    return 0;
}

/* Fill in an explainer. NULL, or why not; "" is for no memory. */
static const char *make_explainer(Explainer *self, const Arrays *in, const float *cover, float base) {
    const char *problem = "";
    const size_t count = (size_t)in->count;
    int32_t *level = malloc((count + (size_t)in->trees + 1) * sizeof *level), *depths = level + count, most = 1;
    uint32_t *parent = malloc((count + 1) * sizeof *parent);
    int32_t *different = malloc((count + 1) * sizeof *different); /* features on the path to a node */
    double *mean = malloc((count + 1) * sizeof *mean);
    if (!level || !parent || !different || !mean) goto done;
    problem = check_trees(in, level, depths);
    if (problem) goto done;
    for (size_t node = 0; node < count; node++)
        if (!isfinite(cover[node]) || cover[node] < 0 || (in->left[node] >= 0 && cover[node] == 0)) {
            problem = "a node's cover is not a positive number";
            goto done;
        }
    problem = "";
    self->features = in->features;
    self->trees = in->trees;
    self->nodes = calloc(count + 1, sizeof *self->nodes);
    self->offsets = malloc(((size_t)in->trees + 1) * sizeof *self->offsets);
    if (!self->nodes || !self->offsets) goto done;
    memcpy(self->offsets, in->offsets, ((size_t)in->trees + 1) * sizeof *self->offsets);
    self->base = base;
    for (int32_t at = 0; at < in->trees; at++) {
        const int32_t start = in->offsets[at], size = in->offsets[at + 1] - start;
        Explained *tree = self->nodes + start;
        if ((uint32_t)size > self->largest) self->largest = (uint32_t)size;
        tree[0].ratio = tree[0].share = 1.0;
        parent[0] = 0;
        different[0] = 0;
        for (int32_t i = 0; i < size; i++) {
            Explained *node = &tree[i];
            const int32_t from = start + i;
            if (in->left[from] < 0) {
                node->feature = -1;
                node->leaf = in->threshold[from];
                if (different[i] > most) most = different[i];
                continue;
            }
            node->threshold = in->threshold[from];
            node->feature = in->feature[from];
            node->left = (uint32_t)in->left[from];
            node->right = (uint32_t)in->right[from];
            node->default_left = in->default_left[from];
            node->earlier = find_earlier(tree, parent, (uint32_t)i, node->feature);
            const uint32_t sides[2] = {node->left, node->right};
            for (int side = 0; side < 2; side++) {
                Explained *child = &tree[sides[side]];
                parent[sides[side]] = (uint32_t)i;
                different[sides[side]] = different[i] + !node->earlier;
                child->ratio = (double)cover[start + (int32_t)sides[side]] / (double)cover[from];
                child->share = child->ratio * (node->earlier ? tree[node->earlier].share : 1.0);
            }
        }
        for (int32_t i = size - 1; i >= 0; i--)
            mean[i] = tree[i].feature < 0 ? tree[i].leaf
                                          : tree[tree[i].left].ratio * mean[tree[i].left] +
                                                tree[tree[i].right].ratio * mean[tree[i].right];
        self->base += mean[0];
    }
    /* A power of two, so that the compiler knows the length of the innermost loops. Beyond 128 features on one path,
     * which no forest that serves has, the quadrature's error is still below 1e-12 of the answer. */
    self->points = 2;
    while (self->points < MAX_POINTS && 2 * self->points < most) self->points *= 2;
    if ((size_t)self->largest * (size_t)self->points * 16 > MOST_SCRATCH) {
        problem = "its trees are too large to be explained";
        goto done;
    }
    place_points(self);
    problem = NULL;
done:
    free(level);
    free(parent);
    free(different);
    free(mean);
    return problem;
}

static void free_explainer(Explainer *self) {
    free(self->offsets);
    free(self->nodes);
}

static inline size_t explain_scratch(const Explainer *self, ptrdiff_t rows) {
    const size_t together = rows < ROWS_TOGETHER ? (size_t)rows : ROWS_TOGETHER, points = (size_t)self->points;
    return sizeof(double) * points * (2 * (size_t)self->largest + together * (size_t)self->features) + self->largest + 16;
}

/* One row through one tree: adds to `sums`, points for each feature. `path` holds of each node the product of the path's
 * factors and on the way up the sum over its leaves; `inverse` one over the factor of the edge's feature, where the row
 * takes the edge (`hot`). */
static inline __attribute__((always_inline)) void explain_tree(const Explainer *self, const Explained *tree, uint32_t size,
                                                               const float *row, const int points, double *path,
                                                               double *inverse, uint8_t *hot, double *sums) {
    const double *t = self->t, *cold = self->cold;
    for (int q = 0; q < points; q++) path[q] = self->weight[q];
    hot[0] = 1;
    for (uint32_t i = 0; i < size; i++) {
        const Explained *node = &tree[i];
        const double *own = path + (size_t)i * points;
        if (node->feature < 0) continue;
        const float value = row[node->feature];
        const int goes_left = isnan(value) ? node->default_left : value < node->threshold;
        const uint32_t taken = goes_left ? node->left : node->right, other = goes_left ? node->right : node->left;
        const double *above = inverse + (size_t)node->earlier * points;
        double *to = path + (size_t)taken * points, *past = path + (size_t)other * points;
        hot[other] = 0;
        if (node->earlier && !hot[node->earlier]) {
            /* The feature's factor was the share of a branch not taken, and goes on shrinking. */
            hot[taken] = 0;
            for (int q = 0; q < points; q++) to[q] = own[q] * tree[taken].ratio;
            for (int q = 0; q < points; q++) past[q] = own[q] * tree[other].ratio;
            continue;
        }
        hot[taken] = 1;
        const double share = tree[taken].share, rest = 1.0 - share, missed = tree[other].share;
        double *below = inverse + (size_t)taken * points;
        double without[MAX_POINTS];
        for (int q = 0; q < points; q++) without[q] = node->earlier ? own[q] * above[q] : own[q];
        for (int q = 0; q < points; q++) {
            const double factor = share + t[q] * rest;
            to[q] = without[q] * factor;
            below[q] = 1.0 / factor;
            past[q] = without[q] * (missed * (1.0 - t[q]));
        }
    }
    for (uint32_t i = size; i-- > 0;) {
        const Explained *node = &tree[i];
        double *own = path + (size_t)i * points;
        if (node->feature < 0) {
            for (int q = 0; q < points; q++) own[q] *= node->leaf;
            continue;
        }
        const double *left = path + (size_t)node->left * points, *right = path + (size_t)node->right * points;
        double *sum = sums + (size_t)node->feature * points;
        for (int q = 0; q < points; q++) own[q] = left[q] + right[q];
        if (node->earlier && !hot[node->earlier]) continue; /* both sides and what stood above cancel */
        const int goes_left = hot[node->left];
        const double *to = goes_left ? left : right, *past = goes_left ? right : left;
        const uint32_t taken = goes_left ? node->left : node->right;
        const double *below = inverse + (size_t)taken * points, rest = 1.0 - tree[taken].share;
        for (int q = 0; q < points; q++) sum[q] += to[q] * rest * below[q] + past[q] * cold[q];
        if (node->earlier) {
            const double *above = inverse + (size_t)node->earlier * points, was = 1.0 - tree[node->earlier].share;
            for (int q = 0; q < points; q++) sum[q] -= own[q] * was * above[q];
        }
    }
}

static inline __attribute__((always_inline)) void explain_rows(const Explainer *self, const float *rows, ptrdiff_t count,
                                                               const int points, double *scratch, double *sums) {
    double *path = scratch, *inverse = path + (size_t)self->largest * points;
    uint8_t *hot = (uint8_t *)(inverse + (size_t)self->largest * points);
    for (int32_t at = 0; at < self->trees; at++) {
        const Explained *tree = self->nodes + self->offsets[at];
        const uint32_t size = (uint32_t)(self->offsets[at + 1] - self->offsets[at]);
        for (ptrdiff_t row = 0; row < count; row++)
            explain_tree(self, tree, size, rows + row * self->features, points, path, inverse, hot,
                         sums + (size_t)row * (size_t)self->features * points);
    }
}

/* Contributions of all rows of a float32 matrix, NaN for missing; `out` has a column more, for the base. `scratch` has
 * explain_scratch(self, rows) bytes, aligned for doubles. */
static void explain(const Explainer *self, const float *matrix, ptrdiff_t rows, double *scratch, double *out) {
    const size_t features = (size_t)self->features, points = (size_t)self->points;
    double *sums = scratch, *rest = sums + (size_t)(rows < ROWS_TOGETHER ? rows : ROWS_TOGETHER) * features * points;
    for (ptrdiff_t start = 0; start < rows; start += ROWS_TOGETHER) {
        const ptrdiff_t count = rows - start < ROWS_TOGETHER ? rows - start : ROWS_TOGETHER;
        const float *from = matrix + (size_t)start * features;
        memset(sums, 0, (size_t)count * features * points * sizeof *sums);
        switch (self->points) {
            case 2: explain_rows(self, from, count, 2, rest, sums); break;
            case 4: explain_rows(self, from, count, 4, rest, sums); break;
            case 8: explain_rows(self, from, count, 8, rest, sums); break;
            default: explain_rows(self, from, count, self->points, rest, sums);
        }
        for (ptrdiff_t row = 0; row < count; row++) {
            double *to = out + (size_t)(start + row) * (features + 1);
            for (size_t i = 0; i < features; i++) {
                const double *sum = sums + ((size_t)row * features + i) * points;
                to[i] = 0.0;
                for (size_t q = 0; q < points; q++) to[i] += sum[q];
            }
            to[features] = self->base;
        }
    }
}

#endif
