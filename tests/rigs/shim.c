/* A disk in trouble: preloaded, it makes what a process does below one directory fail, hang or be refused.
 *
 *   VEDETTE_BELOW    the directory; what lies elsewhere, sockets and pipes are left alone
 *   VEDETTE_FAULTS   the control file, shared memory with whoever commands the faults: `struct control`
 *
 * Both may be set after the start, as long as it is before the first file below is touched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SYNC, WRITE, CHANGE, KINDS };           /* CHANGE: open for writing, rename, unlink, truncate, mkdir */
enum { OK, IO, FULL, STALL, READ_ONLY };

struct control {
    uint32_t mode;
    uint32_t kinds;          /* bits: which kinds of call */
    uint64_t first[KINDS];   /* number of the first call that fails */
    uint64_t last[KINDS];    /* and of the last */
    uint64_t count[KINDS];   /* calls so far */
    uint64_t hit[KINDS];     /* of these, how many failed */
    double until;            /* a stall ends at this time, monotonic s */
    double met;              /* monotonic s of the first call that failed; 0: none yet */
    char path[256];          /* and its file */
};

static volatile struct control *control;
static char below[PATH_MAX];
static size_t length;

static int ready(void)
{
    static int state;  /* 0 not asked, 1 being asked, 2 ready */
    int fresh = 0;
    const char *faults, *directory;

    if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) == 2)
        return 1;
    faults = getenv("VEDETTE_FAULTS");
    directory = getenv("VEDETTE_BELOW");
    if (!faults || !directory || !__atomic_compare_exchange_n(&state, &fresh, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return __atomic_load_n(&state, __ATOMIC_ACQUIRE) == 2;
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = real_open(faults, O_RDWR | O_CLOEXEC);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || control == MAP_FAILED) {
        dprintf(2, "shim: %s: %s\n", faults, strerror(errno));
        abort();
    }
    close(fd);
    length = strlen(directory);
    memcpy(below, directory, length + 1);
    __atomic_store_n(&state, 2, __ATOMIC_RELEASE);
    return 1;
}

static int inside(const char *path)
{
    return !strncmp(path, below, length) && (path[length] == '/' || !path[length]);
}


static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* What comes of one call: 0, or -1 with errno. */
static int trouble(int kind, const char *path)
{
    static const int errors[] = { 0, EIO, ENOSPC, 0, EROFS };
    uint64_t n = __atomic_add_fetch(&control->count[kind], 1, __ATOMIC_RELAXED);
    uint32_t mode = control->mode;

    if (!mode || !(control->kinds & 1u << kind) || n < control->first[kind] || n > control->last[kind])
        return 0;
    if (__atomic_fetch_add(&control->hit[kind], 1, __ATOMIC_RELAXED) == 0 && !control->met) {
        snprintf((char *) control->path, sizeof control->path, "%s", path);
        control->met = now();
    }
    while (control->mode == STALL && now() < control->until)
        usleep(2000);
    errno = errors[mode];
    return errors[mode] ? -1 : 0;
}

static int trouble_at(int kind, const char *path)
{
    return ready() && inside(path) ? trouble(kind, path) : 0;
}

static int trouble_on(int kind, int fd)
{
    char link[32], path[PATH_MAX];

    if (!ready())
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    return inside(path) ? trouble(kind, path) : 0;
}

static void *find(void **real, const char *name)
{
    if (!*real)
        *real = dlsym(RTLD_NEXT, name);
    return *real;
}

#define REAL(name) ((__typeof__(&name)) find(&real, #name))

int fsync(int fd)
{
    static void *real;
    return trouble_on(SYNC, fd) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    static void *real;
    return trouble_on(SYNC, fd) ? -1 : REAL(fdatasync)(fd);
}

ssize_t write(int fd, const void *data, size_t n)
{
    static void *real;
    return trouble_on(WRITE, fd) ? -1 : REAL(write)(fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    static void *real;
    return trouble_on(WRITE, fd) ? -1 : REAL(pwrite)(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    static void *real;
    return trouble_on(WRITE, fd) ? -1 : REAL(pwrite64)(fd, data, n, at);
}

int ftruncate(int fd, off_t n)
{
    static void *real;
    return trouble_on(CHANGE, fd) ? -1 : REAL(ftruncate)(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    static void *real;
    return trouble_on(CHANGE, fd) ? -1 : REAL(ftruncate64)(fd, n);
}

int rename(const char *from, const char *to)
{
    static void *real;
    return trouble_at(CHANGE, from) ? -1 : REAL(rename)(from, to);
}

int unlink(const char *path)
{
    static void *real;
    return trouble_at(CHANGE, path) ? -1 : REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode)
{
    static void *real;
    return trouble_at(CHANGE, path) ? -1 : REAL(mkdir)(path, mode);
}

#define OPEN(name)                                                                                  \
    int name(const char *path, int flags, ...)                                                      \
    {                                                                                               \
        static void *real;                                                                          \
        va_list more;                                                                               \
        va_start(more, flags);                                                                      \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                     \
        va_end(more);                                                                               \
        if (flags & (O_WRONLY | O_RDWR | O_CREAT) && trouble_at(CHANGE, path))    \
            return -1;                                                                              \
        return REAL(name)(path, flags, mode);                                                       \
    }
OPEN(open)
OPEN(open64)
