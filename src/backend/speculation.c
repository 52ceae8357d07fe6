// Proposals, and whether they pay.
#include "backend/speculation.h"
#include <math.h>

// Matches by length, and how likely their continuation is before anything is known.
static const struct match_class {
    int shortest;
    double likely;
} classes[SPECULATION_CLASSES] = {{2, 0.35}, {3, 0.5}, {5, 0.7}, {9, 0.85}, {17, 0.9}};

// Weights of the newest: of a verified token, and of a pass.
static const double verified_weight = 1.0 / 8, pass_weight = 1.0 / 8;
// What does not pay is believed in a little more each time that nothing is proposed, so that about one match in 16 is tried.
static const double growth = 1 + 1.0 / 128, least_likely = 0.02;
static const double slowest = 2; // times the average: a pass that took longer was disturbed

void speculation_begin(speculation *s, int most)
{
    *s = (speculation){.most = most < SPECULATION_MOST ? most : SPECULATION_MOST};
    for (int i = 0; i < SPECULATION_CLASSES; i++) s->likely[i] = classes[i].likely;
}

void speculation_free(speculation *s) { lookup_free(&s->lookup); }

static int class_of(int length)
{
    int i = SPECULATION_CLASSES - 1;
    while (i > 0 && length < classes[i].shortest) i--;
    return i;
}

// Of passes that have not been seen: between reading the weights once more for each row, and for all of them.
static double expected_seconds(const speculation *s, int rows)
{
    int known = rows;
    while (known > 1 && s->seconds[known] <= 0) known--;
    return s->seconds[known] * sqrt((double)rows / known);
}

// How many tokens to propose: as many as make the most tokens a second.
static int best_count(const speculation *s, double likely, int room)
{
    int best = 0;
    double rate = 1 / s->seconds[1], tokens = 1, all_right = 1;
    for (int count = 1; count <= room; count++) {
        all_right *= likely;
        tokens += all_right;
        if (tokens / expected_seconds(s, 1 + count) <= rate) continue;
        rate = tokens / expected_seconds(s, 1 + count);
        best = count;
    }
    return best;
}

bool speculation_propose(speculation *s, const int32_t *history, size_t count, int room)
{
    size_t next = 0;
    s->count = 0;
    if (s->most == 0) return true;
    int length = lookup_find(&s->lookup, history, count, &next);
    if (length < 0) return false;
    if (length == 0 || s->seconds[1] <= 0) return true;
    s->match_class = class_of(length);
    s->count = best_count(s, s->likely[s->match_class], room < s->most ? room : s->most);
    if (s->count == 0) s->likely[s->match_class] = fmin(growth * s->likely[s->match_class], classes[s->match_class].likely);
    // Behind the text's end comes the proposal itself.
    for (int i = 0; i < s->count; i++, next++) s->tokens[i] = next < count ? history[next] : s->tokens[next - count];
    return true;
}

void speculation_timed(speculation *s, int rows, double seconds)
{
    double *average = &s->seconds[rows];
    if (*average <= 0) *average = seconds;
    else *average += pass_weight * (fmin(seconds, slowest * *average) - *average);
}

void speculation_judged(speculation *s, int right)
{
    double *likely = &s->likely[s->match_class];
    for (int i = 0; i <= right && i < s->count; i++) *likely = fmax(*likely + verified_weight * ((i < right) - *likely), least_likely);
}
