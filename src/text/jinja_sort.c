// A stable sort that compares as Python's does, so that what cannot be compared fails in the same words.
#include "text/jinja_render.h"
#include <string.h>

typedef struct sorter {
    jrender *r;
    jvalue *keys, *items; // the same array when items are their own keys
    jvalue *spare_keys, *spare_items;
} sorter;

enum { SMALL = 64 };

static bool less(sorter *s, jvalue a, jvalue b)
{
    jinja_step(s->r, 1);
    return jinja_compare(s->r, JO_LT, a, b);
}

static void reverse(jvalue *items, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        jvalue item = items[i];
        items[i] = items[count - 1 - i];
        items[count - 1 - i] = item;
    }
}

static void reverse_both(sorter *s, size_t begin, size_t count)
{
    reverse(s->keys + begin, count);
    if (s->items != s->keys) reverse(s->items + begin, count);
}

// Length of the run that begins the range; a strictly descending one is turned around.
static size_t count_run(sorter *s, size_t begin, size_t end)
{
    size_t i = begin + 1;
    if (i >= end) return end - begin;
    bool descending = less(s, s->keys[i], s->keys[i - 1]);
    for (i++; i < end && less(s, s->keys[i], s->keys[i - 1]) == descending;) i++;
    if (descending) reverse_both(s, begin, i - begin);
    return i - begin;
}

static void insert(sorter *s, size_t to, size_t from)
{
    jvalue key = s->keys[from], item = s->items[from];
    memmove(&s->keys[to + 1], &s->keys[to], (from - to) * sizeof key);
    s->keys[to] = key;
    if (s->items == s->keys) return;
    memmove(&s->items[to + 1], &s->items[to], (from - to) * sizeof item);
    s->items[to] = item;
}

static void insertion_sort(sorter *s, size_t begin, size_t end)
{
    for (size_t i = begin + count_run(s, begin, end); i < end; i++) {
        size_t low = begin, high = i;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (less(s, s->keys[i], s->keys[middle]))
                high = middle;
            else
                low = middle + 1;
        }
        insert(s, low, i);
    }
}

static void merge_sort(sorter *s, size_t begin, size_t end)
{
    if (end - begin <= SMALL) {
        insertion_sort(s, begin, end);
        return;
    }
    size_t middle = begin + (end - begin) / 2, left = begin, right = middle;
    merge_sort(s, begin, middle);
    merge_sort(s, middle, end);
    for (size_t i = begin; i < end; i++) {
        bool take_right = left == middle || (right < end && less(s, s->keys[right], s->keys[left]));
        size_t from = take_right ? right++ : left++;
        s->spare_keys[i] = s->keys[from];
        s->spare_items[i] = s->items[from];
    }
    memcpy(s->keys + begin, s->spare_keys + begin, (end - begin) * sizeof *s->keys);
    memcpy(s->items + begin, s->spare_items + begin, (end - begin) * sizeof *s->items);
}

void jinja_sort(jrender *r, jlist *list, const jlist *keys, bool backwards)
{
    if (list->count < 2) return;
    sorter s = {.r = r, .items = list->items, .keys = keys ? keys->items : list->items};
    if (list->count > SMALL) {
        s.spare_keys = jinja_alloc(r, list->count, sizeof *s.spare_keys);
        s.spare_items = jinja_alloc(r, list->count, sizeof *s.spare_items);
    }
    if (backwards) reverse_both(&s, 0, list->count); // equal items keep their order
    merge_sort(&s, 0, list->count);
    if (backwards) reverse_both(&s, 0, list->count);
}
