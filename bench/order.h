// For qsort, to find medians.
#ifndef ORDER_H
#define ORDER_H

// Doubles, the smallest first.
static inline int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#endif
