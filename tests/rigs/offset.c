/* Preloaded: the wall clock runs ahead by the double (s) in the file VEDETTE_OFFSET, which is mapped once. It costs a
 * few nanoseconds where libfaketime costs a process of a thousand channels its life; the monotonic clock is untouched.
 * adjtimex(2) says that the clock is synchronised.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static double ahead(void)
{
    static volatile double *offset;

    if (!offset) {
        const char *path = getenv("VEDETTE_OFFSET");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(double), PROT_READ, MAP_SHARED, fd, 0);

        if (fd >= 0)
            close(fd);
        if (page == MAP_FAILED)
            return 0.0;
        offset = page;
    }
    return *offset;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int done = syscall(SYS_clock_gettime, clock, now);

    if (!done && clock == CLOCK_REALTIME)
        now->tv_sec += (time_t) ahead();
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int done = syscall(SYS_gettimeofday, now, zone);

    if (!done)
        now->tv_sec += (time_t) ahead();
    return done;
}

time_t time(time_t *now)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    if (now)
        *now = at.tv_sec;
    return at.tv_sec;
}

int adjtimex(struct timex *asked)
{
    (void) asked;
    return TIME_OK;
}
