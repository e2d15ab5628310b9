/* The same as scan.h for an entity with many events and many times: whole blocks of events are looked up in a tree.
 *
 * Times come in ascending order. A node holds what its events add that count at the present time: a value enters when
 * it becomes known and leaves when it is corrected. A block is 16 events; what does not fill a block is scanned. */
#ifndef TENON_TREE_H
#define TENON_TREE_H

#include "scan.h"

enum { BLOCK = 16 };

typedef struct { i128 total; int64_t count, low, high; } Node;

typedef struct {
    int64_t blocks;
    Node *node; /* the root is 1, the blocks are blocks ... 2 * blocks - 1 */
    Squares *squares;
    int64_t *above;
    int64_t *exact; /* of each node `width` digits: of the sum, then of the squares */
    int64_t width, digits, low;
    int64_t *entering, *leaving; /* positions in the order of known and until; NULL where all events are always in */
    int64_t entered, left, enters, leaves;
} Tree;

static void free_tree(Tree *tree) {
    free(tree->node);
    free(tree->squares);
    free(tree->above);
    free(tree->exact);
    free(tree->entering);
    free(tree->leaving);
    memset(tree, 0, sizeof *tree);
}

/* Sort positions by their key, equal ones staying in order; what is in order already costs one look. */
static int sort_positions(int64_t *positions, int64_t count, const int64_t *key) {
    int64_t *other, *from = positions, *into;
    int64_t done = 1;
    while (done < count && key[positions[done - 1]] <= key[positions[done]]) done++;
    if (done >= count) return 0;
    other = malloc((size_t)count * sizeof(int64_t));
    if (!other) return -1;
    into = other;
    for (int64_t width = 1; width < count; width *= 2) {
        for (int64_t low = 0; low < count; low += 2 * width) {
            const int64_t middle = low + width < count ? low + width : count;
            const int64_t high = middle + width < count ? middle + width : count;
            int64_t a = low, b = middle, at = low;
            if (middle >= high || key[from[middle - 1]] <= key[from[middle]]) {
                memcpy(into + low, from + low, (size_t)(high - low) * sizeof(int64_t));
                continue;
            }
            while (a < middle && b < high) into[at++] = key[from[b]] < key[from[a]] ? from[b++] : from[a++];
            while (a < middle) into[at++] = from[a++];
            while (b < high) into[at++] = from[b++];
        }
        int64_t *const swap = from;
        from = into;
        into = swap;
    }
    if (from != positions) memcpy(positions, from, (size_t)count * sizeof(int64_t));
    free(other);
    return 0;
}

INLINE void empty_node(Node *node) {
    node->total = 0;
    node->count = 0;
    node->low = INT64_MAX;
    node->high = INT64_MIN;
}

INLINE void join_nodes(Node *into, const Node *a, const Node *b) {
    into->total = a->total + b->total;
    into->count = a->count + b->count;
    into->low = a->low < b->low ? a->low : b->low;
    into->high = a->high > b->high ? a->high : b->high;
}

static void add_exact_node(Tree *tree, const Column *column, int64_t at, int64_t value, int64_t sign) {
    if (!tree->exact) return;
    add_exactly(tree->exact + at * tree->width, (int32_t)tree->low, value, sign);
    if (column->needs & EXACT_SQUARES)
        add_square_exactly(tree->exact + at * tree->width + tree->digits, (int32_t)tree->low, value, sign);
}

static void enter(Tree *tree, const Column *column, int64_t position, int64_t value) {
    for (int64_t at = tree->blocks + position / BLOCK; at >= 1; at /= 2) {
        Node *node = &tree->node[at];
        node->count++;
        node->total += value;
        if (value < node->low) node->low = value;
        if (value > node->high) node->high = value;
        if (tree->squares) add_square(&tree->squares[at], value);
        add_exact_node(tree, column, at, value, 1);
        for (int32_t i = 0; i < column->thresholds; i++)
            tree->above[at * column->thresholds + i] += value > column->threshold[i];
    }
}

/* Smallest and largest cannot be subtracted: the block is looked at again, and the nodes above it joined anew. */
static void leave(Tree *tree, const Column *column, const History *history, const Values *values, int64_t position,
                  int64_t value, int64_t at_time) {
    const int64_t first = position / BLOCK * BLOCK;
    const int64_t end = first + BLOCK < history->events ? first + BLOCK : history->events;
    for (int64_t at = tree->blocks + position / BLOCK; at >= 1; at /= 2) {
        Node *node = &tree->node[at];
        if (at >= tree->blocks) {
            node->count--;
            node->total -= value;
            node->low = INT64_MAX;
            node->high = INT64_MIN;
            for (int64_t i = first; i < end; i++) {
                if (!is_counted(values, i, at_time)) continue;
                const int64_t other = values->value ? values->value[i] : 0;
                if (other < node->low) node->low = other;
                if (other > node->high) node->high = other;
            }
        } else
            join_nodes(node, &tree->node[2 * at], &tree->node[2 * at + 1]);
        if (tree->squares) remove_square(&tree->squares[at], value);
        add_exact_node(tree, column, at, value, -1);
        for (int32_t i = 0; i < column->thresholds; i++)
            tree->above[at * column->thresholds + i] -= value > column->threshold[i];
    }
}

static int make_tree(Tree *tree, const Column *column, const History *history, const Values *values, const Exact *exact) {
    const int64_t events = history->events, blocks = (events + BLOCK - 1) / BLOCK;
    const size_t nodes = 2 * (size_t)blocks, counters = nodes * (size_t)column->thresholds;
    memset(tree, 0, sizeof *tree);
    tree->blocks = blocks;
    if (!(tree->node = malloc(nodes * sizeof(Node)))) goto failed;
    if (column->needs & SQUARES && !(tree->squares = calloc(nodes, sizeof(Squares)))) goto failed;
    tree->low = exact->low;
    tree->digits = exact->digits;
    tree->width = exact->digits + (column->needs & EXACT_SQUARES ? exact->square_digits : 0);
    if (column->needs & EXACT && !(tree->exact = calloc(nodes, (size_t)tree->width * sizeof(int64_t)))) goto failed;
    if (counters && !(tree->above = calloc(counters, sizeof(int64_t)))) goto failed;
    for (size_t i = 0; i < nodes; i++) empty_node(&tree->node[i]);
    if (values->known || values->until) {
        const int64_t *known = values->known ? values->known : history->time;
        if (!(tree->entering = malloc((size_t)events * sizeof(int64_t)))) goto failed;
        if (!(tree->leaving = malloc((size_t)events * sizeof(int64_t)))) goto failed;
        for (int64_t i = 0; i < events; i++) {
            if (values->valid && !values->valid[i]) continue;
            if (values->until && values->until[i] <= known[i]) continue; /* never believed */
            tree->entering[tree->enters++] = i;
            if (values->until && values->until[i] != INT64_MAX) tree->leaving[tree->leaves++] = i;
        }
        if (sort_positions(tree->entering, tree->enters, known) < 0) goto failed;
        if (tree->leaves && sort_positions(tree->leaving, tree->leaves, values->until) < 0) goto failed;
        return 0;
    }
    /* All of them, from the blocks up to the root. */
    for (int64_t i = 0; i < events; i++) {
        if (values->valid && !values->valid[i]) continue;
        const int64_t at = blocks + i / BLOCK, value = values->value ? values->value[i] : 0;
        Node *node = &tree->node[at];
        node->count++;
        node->total += value;
        if (value < node->low) node->low = value;
        if (value > node->high) node->high = value;
        if (tree->squares) add_square(&tree->squares[at], value);
        add_exact_node(tree, column, at, value, 1);
        for (int32_t k = 0; k < column->thresholds; k++)
            tree->above[at * column->thresholds + k] += value > column->threshold[k];
    }
    for (int64_t at = blocks - 1; at >= 1; at--) {
        join_nodes(&tree->node[at], &tree->node[2 * at], &tree->node[2 * at + 1]);
        if (tree->squares) {
            tree->squares[at] = tree->squares[2 * at];
            add_squares(&tree->squares[at], &tree->squares[2 * at + 1]);
        }
        for (int64_t i = 0; tree->exact && i < tree->width; i++)
            tree->exact[at * tree->width + i] = tree->exact[2 * at * tree->width + i] + tree->exact[(2 * at + 1) * tree->width + i];
        for (int32_t k = 0; k < column->thresholds; k++)
            tree->above[at * column->thresholds + k] = tree->above[2 * at * column->thresholds + k] +
                                                       tree->above[(2 * at + 1) * column->thresholds + k];
    }
    return 0;
failed:
    free_tree(tree);
    return -1;
}

/* Let in and out what became known and was corrected before `at`, which is not before the last one. */
static void move_to(Tree *tree, const Column *column, const History *history, const Values *values, int64_t at) {
    const int64_t *known = values->known ? values->known : history->time;
    if (!tree->entering) return;
    while (tree->entered < tree->enters && known[tree->entering[tree->entered]] < at) {
        const int64_t position = tree->entering[tree->entered++];
        enter(tree, column, position, values->value ? values->value[position] : 0);
    }
    while (tree->left < tree->leaves && values->until[tree->leaving[tree->left]] < at) {
        const int64_t position = tree->leaving[tree->left++];
        leave(tree, column, history, values, position, values->value ? values->value[position] : 0, at);
    }
}

static void gather_node(Gathered *into, const Tree *tree, const Column *column, int64_t at) {
    const Node *node = &tree->node[at];
    into->count += node->count;
    into->total += node->total;
    if (node->low < into->low) into->low = node->low;
    if (node->high > into->high) into->high = node->high;
    if (tree->squares) add_squares(&into->squares, &tree->squares[at]);
    if (tree->exact) {
        const int64_t *digits = tree->exact + at * tree->width, *squares = digits + tree->digits;
        for (int64_t i = 0; i < tree->digits; i++) into->exact.sum[i] += digits[i];
        for (int64_t i = 0; i < tree->width - tree->digits; i++) into->exact.squares[i] += squares[i];
    }
    for (int32_t i = 0; i < column->thresholds; i++) into->above[i] += tree->above[at * column->thresholds + i];
}

/* The oldest and newest moment of whole blocks: each is in the outermost block that has any, or shares its instant. */
static void gather_ends(Gathered *into, const Tree *tree, const Column *column, const History *history,
                        const Values *values, int64_t first, int64_t last, int64_t at) {
    Gathered ends;
    for (int side = 0; side < 2; side++) {
        if (!(column->needs & (side ? OLDEST : NEWEST))) continue;
        memset(&ends, 0, sizeof ends);
        for (int64_t i = 0; i < last - first; i++) {
            const int64_t block = side ? first + i : last - 1 - i;
            const int64_t start = block * BLOCK, end = start + BLOCK < history->events ? start + BLOCK : history->events;
            if (ends.count && (side ? history->time[start] > ends.oldest.time : history->time[end - 1] < ends.newest.time))
                break;
            if (!tree->node[tree->blocks + block].count) continue;
            for (int64_t k = end - 1; k >= start; k--)
                if (is_counted(values, k, at))
                    gather_value(&ends, column, OLDEST | NEWEST, history->time[k],
                                 values->known ? values->known[k] : history->time[k], values->value ? values->value[k] : 0);
        }
        if (!ends.count) continue;
        if (side && (!into->count || earlier(&ends.oldest, &into->oldest))) into->oldest = ends.oldest;
        if (!side && (!into->count || earlier(&into->newest, &ends.newest))) into->newest = ends.newest;
    }
}

/* Add the events start ... end - 1, which are all before `at`; the tree has moved to `at`. */
static void gather(Gathered *into, const Tree *tree, const Column *column, const History *history, const Values *values,
                   int64_t start, int64_t end, int64_t at) {
    const int64_t first = (start + BLOCK - 1) / BLOCK, last = end / BLOCK;
    if (!tree || last - first < 2) {
        scan(into, column, history, values, start, end, at);
        return;
    }
    scan(into, column, history, values, last * BLOCK, end, at);
    if (column->needs & (OLDEST | NEWEST)) gather_ends(into, tree, column, history, values, first, last, at);
    for (int64_t left = tree->blocks + first, right = tree->blocks + last; left < right; left /= 2, right /= 2) {
        if (left & 1) gather_node(into, tree, column, left++);
        if (right & 1) gather_node(into, tree, column, --right);
    }
    scan(into, column, history, values, start, first * BLOCK, at);
}

#endif
