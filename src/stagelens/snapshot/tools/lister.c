/*
 * Lists the folders of mounted file trees and reads their files, for stagelens.
 *
 *     lister FOLDER
 *
 * Runs in a container of the engine. FOLDER holds the trees, each mounted at a number. Requests arrive on
 * standard input, answers leave on standard output; all integers are little-endian.
 *
 * A key names a file: the tree's number and the parts of the path, with NUL between them and '/' at the end.
 * No part of a path can hold either byte, so every file name passes unchanged.
 *
 * Request: u8 kind, u32 length, payload.
 *     'l'  keys                 list what is directly in these folders
 *     't'  keys                 list everything below these folders
 *     'r'  u32 limit, key       read the first bytes of a regular file
 *     'm'  u32 count            describe the root and the trees 0 to count - 1
 *
 * Answer: frames of u8 kind, u32 length, payload, in this order:
 *     'R'  rows of a listing, any number of frames: u32 rows, u32 folders, u32 length of the keys;
 *          u32 mode, u32 uid, u32 gid, u64 size, i64 mtime (each for all rows);
 *          u64 links, u64 inode, i64 ctime (for each row that is a folder);
 *          keys; the targets of the symlinks, each with a NUL at the end
 *     'D'  bytes, any number of frames. For 'm': u64 inode and i64 ctime of the root and of each tree, then
 *          the text of /proc/self/mountinfo
 *     'E'  what went wrong, as text; or
 *     '.'  nothing: the answer is complete
 *
 * Memory is bounded: rows leave in frames of at most ROWS rows.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 4096, KEY = 1 << 16, TEXT = 1 << 19, DATA = 1 << 16, REQUEST = 1 << 28 };

/* The rows of the frame to come. */
static uint32_t rows, folders, keys_size, targets_size;
static uint32_t modes[ROWS], uids[ROWS], gids[ROWS];
static uint64_t sizes[ROWS], mtimes[ROWS], facts[3 * ROWS];
static char keys[TEXT], targets[TEXT];

static char key[KEY];          /* of the folder that is being listed, without a '/' at the end */
static char entries[1 << 15];  /* of a folder, as the kernel writes them */
static char data[DATA];
static char problem[KEY + 256];

/* Names of folders that are still to be listed, those of the deepest level last. */
static char *pending;
static size_t pending_size, pending_room;

static void put(const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size) {
        ssize_t written = write(1, at, size);
        if (written < 0 && errno != EINTR)
            _exit(1);
        if (written > 0) {
            at += written;
            size -= (size_t)written;
        }
    }
}

static void put_head(char kind, uint32_t size)
{
    char head[5] = {kind};
    size = htole32(size);
    memcpy(head + 1, &size, 4);
    put(head, sizeof head);
}

static void put_frame(char kind, const void *bytes, uint32_t size)
{
    put_head(kind, size);
    put(bytes, size);
}

static void put_rows(void)
{
    uint32_t counts[3] = {htole32(rows), htole32(folders), htole32(keys_size)};
    if (!rows)
        return;
    put_head('R', sizeof counts + 28 * rows + 24 * folders + keys_size + targets_size);
    put(counts, sizeof counts);
    put(modes, 4 * rows);
    put(uids, 4 * rows);
    put(gids, 4 * rows);
    put(sizes, 8 * rows);
    put(mtimes, 8 * rows);
    put(facts, 24 * folders);
    put(keys, keys_size);
    put(targets, targets_size);
    rows = folders = keys_size = targets_size = 0;
}

/* Notes what went wrong with NAME in the folder of the first `size` bytes of `key`. Returns -1. */
static int fail(const char *what, size_t size, const char *name)
{
    const char *reason = strerror(errno);
    char *at = stpcpy(stpcpy(problem, what), " ");
    for (size_t i = 0; i < size; i++)
        *at++ = key[i] ? key[i] : '/';
    if (*name)
        *at++ = '/';
    size_t length = strnlen(name, NAME_MAX);
    memcpy(at, name, length);
    at = stpcpy(stpcpy(at + length, ": "), reason);
    return -1;
}

static int add_row(int folder, size_t parent, const char *name, struct stat *status)
{
    size_t length = strlen(name);
    if (fstatat(folder, name, status, AT_SYMLINK_NOFOLLOW))
        return fail("cannot look at", parent, name);
    if (rows == ROWS || keys_size + parent + length + 2 > TEXT || targets_size + PATH_MAX > TEXT)
        put_rows();
    if (S_ISLNK(status->st_mode)) {
        ssize_t size = readlinkat(folder, name, targets + targets_size, PATH_MAX - 1);
        if (size < 0)
            return fail("cannot read the symlink", parent, name);
        targets_size += (uint32_t)size;
        targets[targets_size++] = 0;
    }
    modes[rows] = htole32(status->st_mode);
    uids[rows] = htole32(status->st_uid);
    gids[rows] = htole32(status->st_gid);
    sizes[rows] = htole64((uint64_t)status->st_size);
    mtimes[rows] = htole64((uint64_t)(int64_t)status->st_mtim.tv_sec);
    rows++;
    if (S_ISDIR(status->st_mode)) {
        uint64_t *fact = facts + 3 * folders++;
        fact[0] = htole64(status->st_nlink);
        fact[1] = htole64(status->st_ino);
        fact[2] = htole64((uint64_t)(int64_t)status->st_ctim.tv_sec);
    }
    memcpy(keys + keys_size, key, parent);
    keys[keys_size + parent] = 0;
    memcpy(keys + keys_size + parent + 1, name, length);
    keys_size += (uint32_t)(parent + length + 2);
    keys[keys_size - 1] = '/';
    return 0;
}

static int add_pending(size_t parent, const char *name)
{
    size_t length = strlen(name) + 1;
    if (pending_size + length > pending_room) {
        size_t room = 2 * pending_room + 4096;
        char *larger = realloc(pending, room);
        if (!larger)
            return fail("cannot list", parent, name);
        pending = larger;
        pending_room = room;
    }
    memcpy(pending + pending_size, name, length);
    pending_size += length;
    return 0;
}

/* Lists the open folder whose key is the first `parent` bytes of `key`, and all below it if `deep`. */
static int list(int folder, size_t parent, int deep)
{
    size_t first = pending_size;
    ssize_t size;
    while ((size = getdents(folder, (struct dirent *)entries, sizeof entries)) > 0) {
        for (ssize_t at = 0; at < size;) {
            struct dirent *entry = (struct dirent *)(entries + at);
            struct stat status;
            at += entry->d_reclen;
            if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
                continue;
            if (add_row(folder, parent, entry->d_name, &status))
                return -1;
            if (deep && S_ISDIR(status.st_mode) && add_pending(parent, entry->d_name))
                return -1;
        }
    }
    if (size < 0)
        return fail("cannot read the folder", parent, "");
    for (size_t at = first, end = pending_size; at < end;) {
        size_t length = strlen(pending + at);
        int result, below;
        if (parent + 1 + length + NAME_MAX + 2 > KEY) {
            errno = ENAMETOOLONG;
            return fail("cannot list", parent, pending + at);
        }
        below = openat(folder, pending + at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below < 0)
            return fail("cannot open the folder", parent, pending + at);
        key[parent] = 0;
        memcpy(key + parent + 1, pending + at, length);
        result = list(below, parent + 1 + length, 1);
        close(below);
        if (result)
            return -1;
        at += length + 1;
    }
    pending_size = first;
    return 0;
}

/* Opens the file of a key part by part, so that no symlink is followed and no path is too long. */
static int open_key(const char *from, size_t size, int flags)
{
    int folder = AT_FDCWD;
    if (size + NAME_MAX + 2 > KEY) {
        errno = ENAMETOOLONG;
        return fail("cannot open", 0, "a path");
    }
    memcpy(key, from, size);
    key[size] = 0;
    for (size_t at = 0; at <= size;) {
        size_t length = strlen(key + at);
        int last = at + length >= size;
        int below = openat(folder, key + at, O_NOFOLLOW | O_CLOEXEC | (last ? flags : O_RDONLY | O_DIRECTORY));
        int error = errno;
        if (folder != AT_FDCWD)
            close(folder);
        errno = error;
        if (below < 0)
            return fail("cannot open", at + length, "");
        folder = below;
        at += length + 1;
    }
    return folder;
}

static int list_all(const char *request, size_t size, int deep)
{
    rows = folders = keys_size = targets_size = 0;
    pending_size = 0;
    for (const char *at = request, *end = request + size, *stop; at < end; at = stop + 1) {
        int folder, result;
        if (!(stop = memchr(at, '/', (size_t)(end - at)))) {
            errno = EINVAL;
            return fail("cannot read the request", 0, "");
        }
        folder = open_key(at, (size_t)(stop - at), O_RDONLY | O_DIRECTORY);
        if (folder < 0)
            return -1;
        result = list(folder, (size_t)(stop - at), deep);
        close(folder);
        if (result)
            return -1;
    }
    put_rows();
    return 0;
}

/* Sends what an open file holds, at most `limit` bytes, and closes it. */
static int send_file(int file, uint32_t limit, size_t size)
{
    ssize_t got = 0;
    while (limit && (got = read(file, data, limit < DATA ? limit : DATA)) > 0) {
        put_frame('D', data, (uint32_t)got);
        limit -= (uint32_t)got;
    }
    close(file);
    return got < 0 ? fail("cannot read", size, "") : 0;
}

static int read_file(const char *from, size_t size, uint32_t limit)
{
    struct stat status;
    int file = open_key(from, size, O_RDONLY | O_NONBLOCK);
    if (file < 0)
        return -1;
    if (fstat(file, &status) || !S_ISREG(status.st_mode)) {
        close(file);
        errno = EINVAL;
        return fail("not a regular file:", size, "");
    }
    return send_file(file, limit, size);
}

static int describe_mounts(uint32_t count)
{
    int file;
    for (uint32_t tree = 0; tree <= count; tree++) {
        struct stat status;
        uint64_t stamp[2];
        char name[12] = "", *at = name + sizeof name - 1;
        for (uint32_t left = tree - 1; tree && (left || !*at); left /= 10)
            *--at = (char)('0' + left % 10);
        if (stat(tree ? at : "/", &status))
            return fail("cannot look at", 0, tree ? at : "the root");
        stamp[0] = htole64(status.st_ino);
        stamp[1] = htole64((uint64_t)(int64_t)status.st_ctim.tv_sec);
        put_frame('D', stamp, sizeof stamp);
    }
    if ((file = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)) < 0)
        return fail("cannot open", 0, "/proc/self/mountinfo");
    return send_file(file, UINT32_MAX, 0);
}

/* Reads exactly so many bytes of the requests; leaves at their end. */
static void get(void *bytes, size_t size)
{
    char *at = bytes;
    while (size) {
        ssize_t got = read(0, at, size);
        if (!got || (got < 0 && errno != EINTR))
            _exit(0);
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
}

static uint32_t number(const char *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    return le32toh(value);
}

static int answer(char kind, const char *request, uint32_t size)
{
    switch (kind) {
    case 'l':
    case 't':
        return list_all(request, size, kind == 't');
    case 'r':
        if (size > 5)
            return read_file(request + 4, size - 5, number(request));
        break;
    case 'm':
        if (size == 4)
            return describe_mounts(number(request));
    }
    errno = EINVAL;
    return fail("cannot read the request", 0, "");
}

static void serve(void)
{
    for (;;) {
        char head[5], *request;
        uint32_t size;
        get(head, sizeof head);
        size = number(head + 1);
        if (size > REQUEST || !(request = malloc(size + 1)))
            _exit(1);
        get(request, size);
        if (answer(head[0], request, size))
            put_frame('E', problem, (uint32_t)strlen(problem));
        else
            put_head('.', 0);
        free(request);
    }
}

int main(int count, char **arguments)
{
    struct rlimit files;
    pid_t child;
    int status;
    if (count != 2 || chdir(arguments[1]))
        return 2;
    if (!getrlimit(RLIMIT_NOFILE, &files)) { /* one for each level of a tree */
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /*
     * BuildKit reports the end of a program only when the client has closed its input. So a second process
     * waits for the first one, and completes a broken answer: the zeros end any frame, and are none.
     */
    if ((child = fork()) < 0)
        return 2;
    if (!child)
        serve();
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        memset(data, 0, DATA);
        for (size_t sent = 0; sent < 2 * TEXT + 64 * ROWS; sent += DATA)
            put(data, DATA);
        for (;;)
            get(data, DATA);
    }
    return 0;
}
