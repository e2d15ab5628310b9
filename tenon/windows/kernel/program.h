/* A view as the kernel sees it: columns, windows, and features in the order in which they are finished. */
#ifndef TENON_PROGRAM_H
#define TENON_PROGRAM_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The numbers are those of tenon/windows/program.py. */
enum { COUNT, SUM, MEAN, STD, MIN, MAX, FIRST, LAST, DISTINCT, QUANTILE, RATE, SINCE_LAST, STATIC, EXPRESSION };

/* What has to be gathered of a column's values. */
enum { TOTAL = 1, SQUARES = 2, EXTREMES = 4, OLDEST = 8, NEWEST = 16, ABOVE = 32, ROWS = 64, EXACT = 128, EXACT_SQUARES = 256 };

enum { MAX_FEATURES = 4096, MAX_COLUMNS = 1024, MAX_WINDOWS = 256, MAX_STACK = 64 };

typedef struct {
    int32_t function, window; /* window: the index, windows ascend */
    int32_t place;            /* in the answer */
    int32_t threshold;        /* RATE: index among the column's thresholds */
    int64_t p, d;             /* QUANTILE: p/d */
    double unit;              /* ten to the power of the scale; 0: values are the keys of floats */
} Feature;

/* A column of events and the features made of it. Column 0 is the events themselves: known at the event time. */
typedef struct {
    int32_t needs, features, thresholds, first_feature;
    int32_t statics, longest; /* longest: the last window that any feature uses; -1 when only statics use the column */
    __int128 *threshold;      /* a value is above iff value > threshold */
} Column;

enum { PUSH_FEATURE, PUSH_NUMBER, ADD, SUBTRACT, MULTIPLY, DIVIDE, LESS, LESS_EQUAL, EQUAL, SMALLER, LARGER, COALESCE, ABSOLUTE, CHOOSE };

typedef struct { int32_t code, feature; double number; } Step;
typedef struct { int32_t place, first, steps; } Expression;

typedef struct {
    int32_t columns, windows, features, places, expressions, values; /* places: all; values: those without expressions */
    int32_t statics; /* features whose value does not depend on the time */
    int64_t *window;
    Column *column;
    Feature *feature; /* sorted by column, then window */
    Step *step;
    Expression *expression;
    uint8_t *is_count; /* by place: 0 instead of missing where there is nothing */
} Program;

static void free_program(Program *program) {
    if (program->column)
        for (int32_t i = 0; i < program->columns; i++) free(program->column[i].threshold);
    free(program->window);
    free(program->column);
    free(program->feature);
    free(program->step);
    free(program->expression);
    free(program->is_count);
}

/* IEEE operations only, so that every machine gives the same bits. Whatever is not finite is missing. */
static inline double kept(double value) { return isfinite(value) ? value : NAN; }

static double run_expression(const Program *program, const Expression *expression, const double *values, int64_t stride) {
    double stack[MAX_STACK];
    int top = 0;
    for (int32_t i = 0; i < expression->steps; i++) {
        const Step *step = &program->step[expression->first + i];
        if (step->code == PUSH_FEATURE) {
            stack[top++] = values[step->feature * stride];
            continue;
        }
        if (step->code == PUSH_NUMBER) {
            stack[top++] = step->number;
            continue;
        }
        if (step->code == ABSOLUTE) {
            stack[top - 1] = fabs(stack[top - 1]);
            continue;
        }
        if (step->code == CHOOSE) {
            top -= 2;
            const double when = stack[top - 1];
            stack[top - 1] = isnan(when) ? NAN : when != 0 ? stack[top] : stack[top + 1];
            continue;
        }
        top--;
        const double a = stack[top - 1], b = stack[top];
        double result;
        if (step->code == COALESCE) {
            stack[top - 1] = isnan(a) ? b : a;
            continue;
        }
        if (isnan(a) || isnan(b)) {
            stack[top - 1] = NAN;
            continue;
        }
        switch (step->code) {
        case ADD: result = a + b; break;
        case SUBTRACT: result = a - b; break;
        case MULTIPLY: result = a * b; break;
        case DIVIDE: result = b == 0 ? NAN : a / b; break;
        case LESS: result = a < b; break;
        case LESS_EQUAL: result = a <= b; break;
        case EQUAL: result = a == b; break;
        case SMALLER: result = b < a ? b : a; break;
        default: result = b > a ? b : a; break;
        }
        stack[top - 1] = kept(result);
    }
    return stack[0];
}

#endif
