/* Many rows through padded trees with the vector instructions of newer processors, where there are any.
 *
 * A walk waits at each level for a load that depends on the one before. Here all splits of a tree are decided for sixteen or
 * more rows at once, and its leaves are chosen from the bottom up: more work, but none of it waits. Comparisons are exact and
 * each row still adds one leaf a tree, in the order of the trees, so the bits are those of a walk.
 */
#ifndef TENON_VECTORS_H
#define TENON_VECTORS_H

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>
#include <immintrin.h>
#define TENON_VECTORS
#endif

/* With each level the work doubles; a walk's does not. */
enum { MAX_VECTOR_DEPTH = 6 };

typedef enum { WALKS = 0, AVX2 = 1, AVX512 = 2 } Vectors;

/* Of all kernels: what the processor has, or less when a test says so. */
static Vectors vectors = WALKS;

/* Asked of the processor itself: __builtin_cpu_supports() cannot be linked into a shared library by every compiler (Zig's). The
 * operating system must keep the wide registers too, which XGETBV tells: bits 1 and 2 for AVX, 5 to 7 for AVX-512. */
static Vectors most_vectors(void) {
#ifdef TENON_VECTORS
    enum { OSXSAVE = 1 << 27, AVX2_BIT = 1 << 5, AVX512F_BIT = 1 << 16, KEEPS_AVX = 0x06, KEEPS_AVX512 = 0xe6 };
    unsigned a, b, c, d, kept, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE)) return WALKS;
    __asm__ volatile("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (kept & KEEPS_AVX) != KEEPS_AVX) return WALKS;
    if ((b & AVX512F_BIT) && (kept & KEEPS_AVX512) == KEEPS_AVX512) return AVX512;
    if (b & AVX2_BIT) return AVX2;
#endif
    return WALKS;
}

#ifdef TENON_VECTORS

/* prefix_6 is a tree of six levels below node `at`: what its rows get. Each level leads to the one below by inlining, so a whole
 * tree is one piece without a branch. */
#define TREES(prefix, LEVEL, V)                                                                                  \
    LEVEL V prefix##_1(const Split *s, const float *l, const float *x, size_t next, size_t at) {                 \
        return prefix##_choose(&s[at], x, next, prefix##_all(&l[2 * at]), prefix##_all(&l[2 * at + 1]));         \
    }                                                                                                            \
    TREE(prefix, LEVEL, V, 2, 1) TREE(prefix, LEVEL, V, 3, 2) TREE(prefix, LEVEL, V, 4, 3)                       \
    TREE(prefix, LEVEL, V, 5, 4) TREE(prefix, LEVEL, V, 6, 5)
#define TREE(prefix, LEVEL, V, depth, less)                                                                      \
    LEVEL V prefix##_##depth(const Split *s, const float *l, const float *x, size_t next, size_t at) {           \
        const V left = prefix##_##less(s, l, x, next, 2 * at), right = prefix##_##less(s, l, x, next, 2 * at + 1); \
        return prefix##_choose(&s[at], x, next, left, right);                                                    \
    }
/* All trees of a block; `l` is moved so that a leaf stands where a split of the next level would. */
#define BLOCK(prefix, FUNCTION, V)                                                                               \
    FUNCTION void prefix##_block(const Model *model, const Block *block, const float *x, size_t next, float *totals) { \
        const size_t size = (size_t)1 << block->depth;                                                           \
        const Split *s = model->splits + block->splits;                                                          \
        const float *l = model->leaves + block->leaves - size;                                                   \
        V sum = prefix##_load(totals);                                                                           \
        for (int32_t tree = 0; tree < block->trees; tree++, s += size, l += size) {                              \
            switch (block->depth) {                                                                              \
            case 0: sum = prefix##_add(sum, prefix##_all(&l[1])); break;                                         \
            case 1: sum = prefix##_add(sum, prefix##_1(s, l, x, next, 1)); break;                                \
            case 2: sum = prefix##_add(sum, prefix##_2(s, l, x, next, 1)); break;                                \
            case 3: sum = prefix##_add(sum, prefix##_3(s, l, x, next, 1)); break;                                \
            case 4: sum = prefix##_add(sum, prefix##_4(s, l, x, next, 1)); break;                                \
            case 5: sum = prefix##_add(sum, prefix##_5(s, l, x, next, 1)); break;                                \
            default: sum = prefix##_add(sum, prefix##_6(s, l, x, next, 1)); break;                               \
            }                                                                                                    \
        }                                                                                                        \
        prefix##_store(totals, sum);                                                                             \
    }

/* AVX-512, two groups at once, so that each split is read once for both. */
#define LEVEL512 __attribute__((target("avx512f"), always_inline)) static inline
#define FUNCTION512 __attribute__((target("avx512f"), noinline)) static
typedef struct { __m512 a, b; } Two512;

LEVEL512 Two512 two_all(const float *value) {
    const __m512 all = _mm512_set1_ps(*value);
    return (Two512){all, all};
}
LEVEL512 Two512 two_load(const float *from) { return (Two512){_mm512_load_ps(from), _mm512_load_ps(from + LANES)}; }
LEVEL512 void two_store(float *to, Two512 sum) {
    _mm512_store_ps(to, sum.a);
    _mm512_store_ps(to + LANES, sum.b);
}
LEVEL512 Two512 two_add(Two512 sum, Two512 leaves) {
    return (Two512){_mm512_add_ps(sum.a, leaves.a), _mm512_add_ps(sum.b, leaves.b)};
}
LEVEL512 Two512 two_choose(const Split *split, const float *x, size_t next, Two512 left, Two512 right) {
    const __m512 threshold = _mm512_set1_ps(split->threshold);
    const float *column = x + (size_t)split->slot * LANES;
    const __mmask16 a = _mm512_cmp_ps_mask(_mm512_load_ps(column), threshold, _CMP_GE_OQ);
    const __mmask16 b = _mm512_cmp_ps_mask(_mm512_load_ps(column + next), threshold, _CMP_GE_OQ);
    return (Two512){_mm512_mask_blend_ps(a, left.a, right.a), _mm512_mask_blend_ps(b, left.b, right.b)};
}
TREES(two, LEVEL512, Two512)
BLOCK(two, FUNCTION512, Two512)

/* AVX-512, one group. */
LEVEL512 __m512 one_all(const float *value) { return _mm512_set1_ps(*value); }
LEVEL512 __m512 one_load(const float *from) { return _mm512_load_ps(from); }
LEVEL512 void one_store(float *to, __m512 sum) { _mm512_store_ps(to, sum); }
LEVEL512 __m512 one_add(__m512 sum, __m512 leaves) { return _mm512_add_ps(sum, leaves); }
LEVEL512 __m512 one_choose(const Split *split, const float *x, size_t next, __m512 left, __m512 right) {
    (void)next;
    const __m512 threshold = _mm512_set1_ps(split->threshold);
    return _mm512_mask_blend_ps(
        _mm512_cmp_ps_mask(_mm512_load_ps(x + (size_t)split->slot * LANES), threshold, _CMP_GE_OQ), left, right);
}
TREES(one, LEVEL512, __m512)
BLOCK(one, FUNCTION512, __m512)

/* AVX2, one group in two halves. */
#define LEVEL256 __attribute__((target("avx2"), always_inline)) static inline
#define FUNCTION256 __attribute__((target("avx2"), noinline)) static
typedef struct { __m256 a, b; } Two256;

LEVEL256 Two256 half_all(const float *value) {
    const __m256 all = _mm256_set1_ps(*value);
    return (Two256){all, all};
}
LEVEL256 Two256 half_load(const float *from) { return (Two256){_mm256_load_ps(from), _mm256_load_ps(from + 8)}; }
LEVEL256 void half_store(float *to, Two256 sum) {
    _mm256_store_ps(to, sum.a);
    _mm256_store_ps(to + 8, sum.b);
}
LEVEL256 Two256 half_add(Two256 sum, Two256 leaves) {
    return (Two256){_mm256_add_ps(sum.a, leaves.a), _mm256_add_ps(sum.b, leaves.b)};
}
LEVEL256 Two256 half_choose(const Split *split, const float *x, size_t next, Two256 left, Two256 right) {
    (void)next;
    const __m256 threshold = _mm256_set1_ps(split->threshold);
    const float *column = x + (size_t)split->slot * LANES;
    const __m256 a = _mm256_cmp_ps(_mm256_load_ps(column), threshold, _CMP_GE_OQ);
    const __m256 b = _mm256_cmp_ps(_mm256_load_ps(column + 8), threshold, _CMP_GE_OQ);
    return (Two256){_mm256_blendv_ps(left.a, right.a, a), _mm256_blendv_ps(left.b, right.b, b)};
}
TREES(half, LEVEL256, Two256)
BLOCK(half, FUNCTION256, Two256)

#endif

/* Whether a block's trees are decided by vectors. */
static inline int is_shallow(const Block *block) { return block->padded && block->depth <= MAX_VECTOR_DEPTH; }

/* Groups of LANES rows, one behind the other, through the trees of a block. */
static void add_groups(const Model *model, const Block *block, const float *slots, ptrdiff_t groups, float *totals) {
    const size_t group = (size_t)model->slots * LANES;
    ptrdiff_t done = 0;
#ifdef TENON_VECTORS
    if (vectors == AVX512 && is_shallow(block)) {
        for (; done + 2 <= groups; done += 2)
            two_block(model, block, slots + (size_t)done * group, group, totals + done * LANES);
        for (; done < groups; done++)
            one_block(model, block, slots + (size_t)done * group, group, totals + done * LANES);
    } else if (vectors == AVX2 && is_shallow(block)) {
        for (; done < groups; done++)
            half_block(model, block, slots + (size_t)done * group, group, totals + done * LANES);
    }
#endif
    for (; done < groups; done++) add_rows(model, block, slots + (size_t)done * group, totals + done * LANES);
}

#endif
