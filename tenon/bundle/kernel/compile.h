/* From the flat arrays of a forest to the layout that `evaluate` walks. Nothing is believed: arrays that are not trees
 * are refused with a word, because a bundle's signature says who made it, not that it is well made. */
#ifndef TENON_COMPILE_H
#define TENON_COMPILE_H

#include "evaluate.h"

/* A complete tree of 2^d leaves takes 12 bytes a leaf, a linked one 16 bytes a node. Padding is worth this much more
 * memory, and never more than this depth (docs/decisions/0005-compiled-evaluator.md has the measurements). */
enum { MAX_PADDED_DEPTH = 9, PADDING_WORTH = 4 };

typedef struct {
    int32_t features, trees, count;
    const int32_t *offsets, *left, *right, *feature;
    const float *threshold;
    const uint8_t *default_left;
} Arrays;

/* Depth of each tree, or why these are no trees. `level` has room for all nodes. Children stand after their parents and
 * each node but the root has one parent: what fulfils this is a tree. */
static const char *check_trees(const Arrays *in, int32_t *level, int32_t *depths) {
    if (in->trees < 0 || in->features < 0 || in->offsets[0] != 0 || in->offsets[in->trees] != in->count)
        return "tree offsets are not valid";
    for (int32_t tree = 0; tree < in->trees; tree++)
        if (in->offsets[tree + 1] <= in->offsets[tree]) return "tree offsets are not valid";
    for (int32_t tree = 0; tree < in->trees; tree++) {
        const int32_t start = in->offsets[tree], size = in->offsets[tree + 1] - start;
        if (start < 0 || start > in->count - size) return "tree offsets are not valid";
        for (int32_t i = 0; i < size; i++) level[start + i] = -1;
        level[start] = 0;
        depths[tree] = 0;
        for (int32_t i = 0; i < size; i++) {
            const int32_t left = in->left[start + i], right = in->right[start + i];
            if (!isfinite(in->threshold[start + i])) return "a threshold or leaf is not finite";
            if (level[start + i] < 0) return "a node hangs on no tree";
            if (left < 0) continue;
            if (left <= i || right <= i || left >= size || right >= size)
                return "a node's child is not a later node of its tree";
            if (left == right || level[start + left] >= 0 || level[start + right] >= 0) return "a node has two parents";
            if (in->feature[start + i] < 0 || in->feature[start + i] >= in->features)
                return "a split's feature does not exist";
            level[start + left] = level[start + right] = level[start + i] + 1;
            if (level[start + i] + 1 > depths[tree]) depths[tree] = level[start + i] + 1;
        }
    }
    return NULL;
}

static uint32_t slot_of(const Model *model, const Arrays *in, int32_t node) {
    const int32_t feature = in->feature[node];
    return (uint32_t)(in->default_left[node] ? feature : model->mirror[feature]);
}

/* `place[i]` is where node i of the tree stands among the splits, or for a leaf, the place a split would have there. */
static void pad_tree(const Model *model, const Arrays *in, int32_t tree, int32_t depth, const int32_t *level,
                     uint32_t *place, Split *splits, float *leaves) {
    const int32_t start = in->offsets[tree], size = in->offsets[tree + 1] - start;
    const uint32_t full = UINT32_C(1) << depth;
    place[0] = 1;
    for (int32_t i = 0; i < size; i++) {
        const int32_t node = start + i;
        if (in->left[node] >= 0) {
            splits[place[i]].threshold = in->threshold[node];
            splits[place[i]].slot = slot_of(model, in, node);
            place[in->left[node]] = 2 * place[i];
            place[in->right[node]] = 2 * place[i] + 1;
        } else {
            /* The splits below a leaf stay zero: whichever way they send a row, the leaf is the same. */
            const int32_t missing = depth - level[node];
            const uint32_t first = (place[i] << missing) - full;
            for (uint32_t leaf = 0; leaf < UINT32_C(1) << missing; leaf++) leaves[first + leaf] = in->threshold[node];
        }
    }
}

static uint32_t link_tree(const Model *model, const Arrays *in, int32_t tree, uint32_t next, uint32_t *place) {
    const int32_t start = in->offsets[tree], size = in->offsets[tree + 1] - start;
    place[0] = next++;
    for (int32_t i = 0; i < size; i++) {
        const int32_t node = start + i;
        Node *out = &model->nodes[place[i]];
        if (in->left[node] >= 0) {
            place[in->left[node]] = next++;
            place[in->right[node]] = next++;
            *out = (Node){in->threshold[node], slot_of(model, in, node), place[in->right[node]], 0.0f};
        } else {
            *out = (Node){-INFINITY, 0, place[i], in->threshold[node]};
        }
    }
    return next;
}

/* Fill in the forest of a model whose width and mirror are known. NULL, or why not; "" is for no memory. */
static const char *compile_forest(Model *model, const Arrays *in) {
    const char *problem = "";
    const size_t count = (size_t)in->count, trees = (size_t)in->trees;
    int32_t *level = malloc((count + trees + 1) * sizeof *level), *depths = level + count;
    uint32_t *place = malloc((count + 1) * sizeof *place);
    size_t splits = 0, linked = 0;
    if (!level || !place) goto done;
    problem = check_trees(in, level, depths);
    if (problem) goto done;
    problem = "";
    model->trees = in->trees;
    model->blocks_count = (in->trees + LANES - 1) / LANES;
    model->blocks = calloc((size_t)model->blocks_count + 1, sizeof *model->blocks);
    if (!model->blocks) goto done;
    model->shallow = 1;
    for (int32_t i = 0; i < model->blocks_count; i++) {
        Block *block = &model->blocks[i];
        const int32_t first = i * LANES;
        block->trees = in->trees - first < LANES ? in->trees - first : LANES;
        for (int32_t tree = first; tree < first + block->trees; tree++)
            if (depths[tree] > block->depth) block->depth = depths[tree];
        const size_t nodes = (size_t)(in->offsets[first + block->trees] - in->offsets[first]);
        block->padded = block->depth <= 3 || (block->depth <= MAX_PADDED_DEPTH &&
                        (size_t)12 * LANES << block->depth <= PADDING_WORTH * 16 * nodes);
        model->shallow &= is_shallow(block);
        if (block->padded) {
            block->splits = block->leaves = splits;
            splits += (size_t)LANES << block->depth; /* a last block is filled up with trees of zeros */
        } else {
            linked += nodes + 1; /* one more, a leaf, for the lanes without a tree */
        }
    }
    if (linked > UINT32_MAX) {
        problem = "the forest has too many nodes";
        goto done;
    }
    model->splits = calloc(splits + 1, sizeof *model->splits);
    model->leaves = calloc(splits + 1, sizeof *model->leaves);
    model->nodes = malloc((linked + 1) * sizeof *model->nodes);
    if (!model->splits || !model->leaves || !model->nodes) goto done;
    model->bytes = splits * 12 + linked * sizeof(Node) + (size_t)model->blocks_count * sizeof(Block);
    uint32_t next = 0;
    for (int32_t i = 0; i < model->blocks_count; i++) {
        Block *block = &model->blocks[i];
        if (!block->padded) {
            model->nodes[next] = (Node){-INFINITY, 0, next, 0.0f};
            for (int lane = 0; lane < LANES; lane++) block->roots[lane] = next;
            next++;
        }
        for (int32_t lane = 0; lane < block->trees; lane++) {
            const int32_t tree = i * LANES + lane;
            if (block->padded) {
                const size_t at = block->splits + ((size_t)lane << block->depth);
                pad_tree(model, in, tree, block->depth, level, place, model->splits + at, model->leaves + at);
            } else {
                block->roots[lane] = next;
                next = link_tree(model, in, tree, next, place);
            }
        }
    }
    problem = NULL;
done:
    free(level);
    free(place);
    return problem;
}

static void free_model(Model *model) {
    free(model->steps);
    free(model->mirror);
    free(model->blocks);
    free(model->splits);
    free(model->leaves);
    free(model->nodes);
    free(model->coefficients);
}

#endif
