// The control groups (cgroup version 1 and 2) that this process is in, and their files.
#ifndef BASE_CONTROL_GROUP_H
#define BASE_CONTROL_GROUP_H
#include <stdbool.h>
#include <stddef.h>

enum { CONTROL_GROUP_PATH = 4096 };

typedef struct control_group {
    char path[CONTROL_GROUP_PATH]; // of its folder
    size_t mount_length;           // of the path: where the hierarchy begins
} control_group;

// The process's own group in the hierarchy of a controller ("memory", "cpu"). `root` stands before every path, "" for the
// real machine. False: there is none.
bool control_group_find(const char *root, int version, const char *controller, control_group *g);
bool control_group_up(control_group *g); // to the parent; false behind the root of the hierarchy
// The beginning of one of its files as text; false when there is none.
bool control_group_read(const control_group *g, const char *name, char *text, size_t capacity);

#endif
