// Finds the groups by /proc/self/cgroup and /proc/self/mountinfo, which are read with bounds.
#include "base/control_group.h"
#include "base/file.h"
#include <stdio.h>
#include <string.h>

enum { MAX_PATH = CONTROL_GROUP_PATH, MAX_MOUNTS = 100000 };

static bool has_word(const char *list, const char *word, size_t length)
{
    for (; list; list = strchr(list, ','), list += list != NULL)
        if (!strncmp(list, word, length) && (!list[length] || list[length] == ',')) return true;
    return false;
}

// Splits off the text up to `separator`; *rest is what follows, NULL: nothing.
static char *cut(char **rest, char separator)
{
    char *text = *rest, *end = text ? strchr(text, separator) : NULL;
    if (end) *end = 0;
    *rest = end ? end + 1 : NULL;
    return text;
}

// Lines as in a file of /proc; one that is too long is skipped. False at the end.
static bool next_line(FILE *file, char *line, size_t capacity)
{
    while (fgets(line, (int)capacity, file)) {
        char *end = strchr(line, '\n');
        if (end) return *end = 0, true;
        if (feof(file)) return true;
        for (int c; (c = fgetc(file)) != '\n' && c != EOF;) {}
    }
    return false;
}

static FILE *open_under(const char *root, const char *name)
{
    char path[MAX_PATH];
    return snprintf(path, sizeof path, "%s%s", root, name) < (int)sizeof path ? fopen(path, "re") : NULL;
}

// The group's path inside its hierarchy, from "4:memory:/a/b" (v1) or "0::/a/b" (v2).
static bool find_membership(const char *root, int version, const char *controller, char *path, size_t capacity)
{
    char line[MAX_PATH];
    bool found = false;
    FILE *file = open_under(root, "/proc/self/cgroup");
    for (int lines = 0; file && !found && lines < MAX_MOUNTS && next_line(file, line, sizeof line); lines++) {
        char *rest = line, *number = cut(&rest, ':'), *controllers = cut(&rest, ':');
        if (!rest) continue;
        found = version == 2 ? !strcmp(number, "0") && !*controllers : has_word(controllers, controller, strlen(controller));
        if (found) found = snprintf(path, capacity, "%s", rest) < (int)capacity;
    }
    if (file) fclose(file);
    return found;
}

// Where the hierarchy is mounted, and which of its groups the mount shows, from lines like
//     36 35 98:0 /group /mount/point rw,noatime shared:1 - cgroup none rw,memory
static bool find_mount(const char *root, int version, const char *controller, char mount[MAX_PATH], char group[MAX_PATH])
{
    char line[MAX_PATH];
    bool found = false;
    FILE *file = open_under(root, "/proc/self/mountinfo");
    for (int lines = 0; file && !found && lines < MAX_MOUNTS && next_line(file, line, sizeof line); lines++) {
        char *tail = strstr(line, " - "), *rest = line;
        if (!tail) continue;
        *tail = 0;
        tail += 3;
        for (int i = 0; i < 3; i++) cut(&rest, ' ');
        char *shown = cut(&rest, ' '), *point = cut(&rest, ' '), *type = cut(&tail, ' ');
        cut(&tail, ' ');
        if (!point || strcmp(type, version == 2 ? "cgroup2" : "cgroup")) continue;
        found = version == 2 || (tail && has_word(tail, controller, strlen(controller)));
        if (!found) continue;
        snprintf(mount, MAX_PATH, "%s", point);
        snprintf(group, MAX_PATH, "%s", shown);
    }
    if (file) fclose(file);
    return found;
}

bool control_group_find(const char *root, int version, const char *controller, control_group *g)
{
    char mount[MAX_PATH], shown[MAX_PATH], member[MAX_PATH];
    if (!find_membership(root, version, controller, member, sizeof member) ||
        !find_mount(root, version, controller, mount, shown))
        return false;
    size_t length = strcmp(shown, "/") ? strlen(shown) : 0;
    // A mount that shows another part of the hierarchy (or a namespace outside of which we are) says what it can.
    const char *inner = !strncmp(member, shown, length) && (member[length] == '/' || !member[length]) ? member + length : "";
    if (strstr(inner, "..")) inner = "";
    int needed = snprintf(g->path, sizeof g->path, "%s%s%s", root, mount, strcmp(inner, "/") ? inner : "");
    g->mount_length = strlen(root) + strlen(mount);
    return needed < (int)sizeof g->path;
}

bool control_group_up(control_group *g)
{
    char *slash = strrchr(g->path, '/');
    if (strlen(g->path) <= g->mount_length || !slash) return false;
    *slash = 0;
    return strlen(g->path) >= g->mount_length;
}

bool control_group_read(const control_group *g, const char *name, char *text, size_t capacity)
{
    char path[MAX_PATH + 40];
    snprintf(path, sizeof path, "%s/%s", g->path, name);
    return file_read_start(path, text, capacity);
}
