/* Preloaded before libfaketime, which moves the wall clock.
 *
 * The kernel's word on that clock, from a file: adjtimex(2) says "synchronised" where VEDETTE_SYNCED begins with 1,
 * else "not synchronised". And sleep that only the monotonic clock can end: libfaketime moves that as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
}

int adjtimex(struct timex *asked)
{
    const char *path = getenv("VEDETTE_SYNCED");
    char said = '0';
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    (void) asked;
    if (fd >= 0) {
        if (read(fd, &said, 1) != 1)
            said = '0';
        close(fd);
    }
    return said == '1' ? TIME_OK : TIME_ERROR;
}
