/* Sums of float64 without any rounding until the end, so that no order of adding gives another result: fixed-point numbers as
 * wide as the values of one entity need. `tenon.core.exact` is the definition.
 *
 * A float64 is handed around as an integer key that has the same order. A sum is digits of 32 bits in 64, so that many
 * additions, of either sign, need no carry: up to 2^30 values. */
#ifndef TENON_EXACT_H
#define TENON_EXACT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A value takes 3 digits, a square 5, and each 2 more for carries; the lowest bit of a float64 is 2^-1074. */
enum { LOWEST = 1074, SUM_DIGITS = 68, SQUARE_DIGITS = 134, MOST_DIGITS = 144 };

typedef struct {
    int64_t *sum, *squares;
    int32_t low, digits, square_digits; /* low: the digit at which the sum begins; the squares begin at 2 * low */
} Exact;

static inline double key_to_double(int64_t key) {
    const uint64_t bits = (uint64_t)key ^ (uint64_t)((key >> 63) & INT64_MAX);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* |value| = mantissa * 2^(shift - LOWEST) */
static inline uint64_t split_key(int64_t key, int *shift) {
    const uint64_t bits = key < 0 ? (uint64_t)key ^ INT64_MAX : (uint64_t)key;
    const int exponent = (int)(bits >> 52 & 2047);
    const uint64_t mantissa = bits & (((uint64_t)1 << 52) - 1);
    *shift = exponent ? exponent - 1 : 0;
    return exponent ? mantissa | (uint64_t)1 << 52 : mantissa;
}

static inline void add_exactly(int64_t *sum, int32_t low, int64_t key, int64_t sign) {
    int shift;
    const uint64_t mantissa = split_key(key, &shift);
    if (!mantissa) return;
    const unsigned __int128 placed = (unsigned __int128)mantissa << (shift & 31);
    int64_t *digit = sum + (shift >> 5) - low;
    if (key < 0) sign = -sign;
    for (int i = 0; i < 3; i++) digit[i] += sign * (int64_t)(uint32_t)(placed >> 32 * i);
}

static inline void add_square_exactly(int64_t *sum, int32_t low, int64_t key, int64_t sign) {
    int shift;
    const uint64_t mantissa = split_key(key, &shift);
    if (!mantissa) return;
    const unsigned __int128 square = (unsigned __int128)mantissa * mantissa; /* 106 bits; placed, up to 137 */
    const int bit = 2 * shift & 31;
    const unsigned __int128 placed = square << bit;
    int64_t *digit = sum + (2 * shift >> 5) - 2 * low;
    for (int i = 0; i < 4; i++) digit[i] += sign * (int64_t)(uint32_t)(placed >> 32 * i);
    if (bit) digit[4] += sign * (int64_t)(uint32_t)(square >> (128 - bit));
}

/* The size of a sum in plain digits; gives its sign. */
static inline int plain_digits(uint32_t *into, const int64_t *from, int digits) {
    int64_t carry = 0;
    for (int i = 0; i < digits; i++) {
        const int64_t here = from[i] + carry;
        into[i] = (uint32_t)here;
        carry = here >> 32;
    }
    if (carry >= 0) return 1;
    uint64_t more = 1;
    for (int i = 0; i < digits; i++) {
        more += (uint32_t)~into[i];
        into[i] = (uint32_t)more;
        more >>= 32;
    }
    return -1;
}

/* The digits as value * 2^exponent, rounded once, to nearest, ties to even. */
static inline double rounded_digits(const uint32_t *digit, int digits, int *exponent) {
    int top = digits - 1;
    uint32_t rest = 0;
    *exponent = 0;
    while (top >= 0 && !digit[top]) top--;
    if (top < 0) return 0.0;
    unsigned __int128 bits = 0;
    for (int i = 0; i < 4; i++) bits = bits << 32 | (top >= i ? digit[top - i] : 0);
    for (int i = 0; i < top - 3; i++) rest |= digit[i];
    const int shift = __builtin_clz(digit[top]);
    bits <<= shift; /* what is now empty below is far below what is rounded */
    *exponent = 32 * (top - 3) + 64 - shift;
    return (double)((uint64_t)(bits >> 64) | ((uint64_t)bits != 0 || rest != 0));
}

/* A sum's bits all lie at or above those of the smallest float64, so the last step rounds nothing that was rounded before. */
static inline double exact_sum(const Exact *exact) {
    uint32_t digits[MOST_DIGITS];
    int exponent;
    const int sign = plain_digits(digits, exact->sum, exact->digits);
    const double size = rounded_digits(digits, exact->digits, &exponent);
    return sign * ldexp(size, exponent + 32 * exact->low - LOWEST);
}

/* The root of (n * squares - sum^2) / (n * (n - 1)), both parts rounded once; powers of four stay outside of the root. */
static inline double exact_deviation(const Exact *exact, int64_t count) {
    uint32_t sum[MOST_DIGITS], squares[MOST_DIGITS], all[MOST_DIGITS] = {0}, product[MOST_DIGITS] = {0};
    int exponent;
    uint64_t carry = 0;
    plain_digits(sum, exact->sum, exact->digits);
    plain_digits(squares, exact->squares, exact->square_digits);
    for (int i = 0; i < exact->square_digits + 2; i++) {
        const unsigned __int128 part = (unsigned __int128)(i < exact->square_digits ? squares[i] : 0) * (uint64_t)count + carry;
        all[i] = (uint32_t)part;
        carry = (uint64_t)(part >> 32);
    }
    for (int i = 0; i < exact->digits; i++) {
        carry = 0;
        for (int k = 0; k < exact->digits; k++) {
            const uint64_t part = (uint64_t)sum[i] * sum[k] + product[i + k] + carry;
            product[i + k] = (uint32_t)part;
            carry = part >> 32;
        }
        product[i + exact->digits] = (uint32_t)carry;
    }
    int64_t borrow = 0;
    for (int i = 0; i < MOST_DIGITS; i++) {
        const int64_t part = (int64_t)all[i] - product[i] + borrow;
        all[i] = (uint32_t)part;
        borrow = part >> 32;
    }
    double size = rounded_digits(all, MOST_DIGITS, &exponent);
    exponent += 64 * exact->low - 2 * LOWEST;
    if (exponent & 1) {
        size *= 2;
        exponent -= 1;
    }
    return ldexp(sqrt(size / (double)((__int128)count * (count - 1))), exponent / 2);
}

/* A sum in a few numbers: the digit at which it begins, then its digits, two in each, the highest with the sign. */
enum { PACKED_SUM = 8, PACKED_SQUARES = 12 };

/* 0: it has more digits than that. `most`: how many there are in all. */
static inline int pack_digits(int64_t *into, const int64_t *from, int32_t low, int32_t digits, int packed, int most) {
    uint32_t plain[MOST_DIGITS] = {0};
    int64_t carry = 0;
    int32_t first = 0, start;
    for (int32_t i = 0; i < digits; i++) {
        const int64_t here = from[i] + carry;
        plain[i] = (uint32_t)here;
        carry = here >> 32;
    }
    while (first < digits && !plain[first]) first++;
    if (first == digits) first = 0;
    start = low + first < most - packed ? low + first : most - packed;
    if (start < 0) start = 0;
    const uint32_t sign = carry < 0 ? UINT32_MAX : 0;
    into[0] = start;
    for (int32_t i = 0; i < packed; i++) {
        const int32_t k = start + i - low;
        const uint32_t digit = k < 0 ? 0 : k < digits ? plain[k] : sign;
        const int shift = 32 * (i & 1);
        into[1 + i / 2] = (int64_t)((i & 1 ? (uint64_t)into[1 + i / 2] : 0) | (uint64_t)digit << shift);
    }
    /* What is left out above may only repeat the sign, which the highest digit has to have too. */
    for (int32_t k = start + packed - low; k < digits; k++)
        if (k >= 0 && plain[k] != sign) return 0;
    return (carry == 0 || carry == -1) && (uint32_t)((uint64_t)into[packed / 2] >> 63 ? UINT32_MAX : 0) == sign;
}

/* Adds such a sum to one that begins at digit 0 and has `most` digits. 0: it is none. */
static inline int add_packed(int64_t *sum, const int64_t *from, int packed, int most) {
    if (from[0] < 0 || from[0] > most - packed) return 0;
    for (int i = 0; i < packed; i++) {
        const uint32_t digit = (uint32_t)((uint64_t)from[1 + i / 2] >> 32 * (i & 1));
        sum[from[0] + i] += i == packed - 1 ? (int64_t)(int32_t)digit : (int64_t)digit;
    }
    return 1;
}

/* The same sums without the zeros at their ends, which would only cost time. */
static inline Exact trimmed(const Exact *exact, int squares) {
    int32_t first = exact->digits, last = 0, last_square = 0;
    for (int32_t i = 0; i < exact->digits; i++)
        if (exact->sum[i]) {
            if (i < first) first = i;
            last = i;
        }
    for (int32_t i = 0; squares && i < exact->square_digits; i++)
        if (exact->squares[i]) {
            if (i / 2 < first) first = i / 2;
            last_square = i;
        }
    if (first == exact->digits) first = 0;
    if (last < first) last = first;
    if (last_square < 2 * first) last_square = 2 * first;
    /* Carries go two digits further. */
    const int32_t end = last + 3 < exact->digits ? last + 3 : exact->digits;
    const int32_t square_end = last_square + 3 < exact->square_digits ? last_square + 3 : exact->square_digits;
    return (Exact){exact->sum + first, exact->squares + 2 * first, exact->low + first, end - first, square_end - 2 * first};
}

#endif
