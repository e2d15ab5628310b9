/* Integers beyond 64 bits, and their one correct rounding to a double. */
#ifndef TENON_WIDE_H
#define TENON_WIDE_H

#include <math.h>
#include <stdint.h>

typedef __int128 i128;
typedef unsigned __int128 u128;

/* A sum of squares: up to 2^63 squares of 64-bit integers. */
typedef struct { u128 low; uint64_t high; } Squares;

static inline void add_square(Squares *sum, int64_t value) {
    const uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    const u128 square = (u128)size * size, before = sum->low;
    sum->low += square;
    sum->high += sum->low < before;
}

static inline void add_squares(Squares *sum, const Squares *more) {
    const u128 before = sum->low;
    sum->low += more->low;
    sum->high += more->high + (sum->low < before);
}

static inline void remove_square(Squares *sum, int64_t value) {
    const uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    const u128 square = (u128)size * size;
    sum->high -= sum->low < square;
    sum->low -= square;
}

/* Four limbs, the lowest first. */
typedef struct { uint64_t limb[4]; } Wide;

static inline Wide wide_product(const uint64_t *a, int na, const uint64_t *b, int nb) {
    Wide product = {{0, 0, 0, 0}};
    for (int i = 0; i < na; i++) {
        uint64_t carry = 0;
        for (int j = 0; i + j < 4; j++) {
            const u128 part = (u128)a[i] * (j < nb ? b[j] : 0) + product.limb[i + j] + carry;
            product.limb[i + j] = (uint64_t)part;
            carry = (uint64_t)(part >> 64);
        }
    }
    return product;
}

static inline Wide wide_difference(Wide a, const Wide *b) {
    uint64_t borrow = 0;
    for (int i = 0; i < 4; i++) {
        const u128 part = (u128)a.limb[i] - b->limb[i] - borrow;
        a.limb[i] = (uint64_t)part;
        borrow = (uint64_t)(part >> 64) & 1;
    }
    return a;
}

/* To nearest, ties to even: the top 64 bits, with one more that says whether anything was cut off, hold enough. */
static inline double wide_to_double(const Wide *wide) {
    int top = 3;
    uint64_t bits, rest = 0;
    while (top > 0 && !wide->limb[top]) top--;
    if (top == 0) return (double)wide->limb[0];
    const int shift = __builtin_clzll(wide->limb[top]);
    bits = wide->limb[top] << shift;
    if (shift) bits |= wide->limb[top - 1] >> (64 - shift);
    rest = wide->limb[top - 1] << shift;
    for (int i = 0; i < top - 1; i++) rest |= wide->limb[i];
    return ldexp((double)(bits | (rest != 0)), 64 * top - shift);
}

/* The square root of (n * squares - sum^2) / (n * (n - 1)): the root of the exact fraction's two rounded parts. */
static inline double sample_deviation(int64_t count, i128 sum, const Squares *squares) {
    const u128 size = sum < 0 ? 0 - (u128)sum : (u128)sum;
    const uint64_t n[1] = {(uint64_t)count}, s[2] = {(uint64_t)size, (uint64_t)(size >> 64)};
    const uint64_t q[3] = {(uint64_t)squares->low, (uint64_t)(squares->low >> 64), squares->high};
    const Wide right = wide_product(s, 2, s, 2), all = wide_difference(wide_product(q, 3, n, 1), &right);
    return sqrt(wide_to_double(&all) / (double)((i128)count * (count - 1)));
}

#endif
