/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Of util/os.h, what descriptors need that outlive a process: os-linux.c has
 * the rest.
 */
#include <unistd.h>
#include "util/os-private.h"
#include "util/os.h"

int hm_os_get_seals(int fd)
{
    return result(fcntl(fd, F_GET_SEALS));
}

int hm_os_get_mode(int fd)
{
    int flags = result(fcntl(fd, F_GETFL));

    return flags < 0 ? flags : flags & (O_ACCMODE | O_PATH);
}

int hm_os_dup(int fd)
{
    return result(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

int hm_os_write(int fd, const void *data, gsize length)
{
    const char *at = data;

    while (length) {
        gssize n = TEMP_FAILURE_RETRY(write(fd, at, length));

        if (n <= 0) {
            return n < 0 ? failure() : -EIO;
        }
        at += n;
        length -= (gsize)n;
    }
    return 0;
}

int hm_os_write_at(int fd, const void *data, gsize length, guint64 offset)
{
    const char *at = data;

    while (length) {
        gssize n = TEMP_FAILURE_RETRY(pwrite(fd, at, length, (off_t)offset));

        if (n <= 0) {
            return n < 0 ? failure() : -EIO;
        }
        at += n;
        offset += (guint64)n;
        length -= (gsize)n;
    }
    return 0;
}

int hm_os_sync(int fd)
{
    return result(TEMP_FAILURE_RETRY(fsync(fd)));
}

gssize hm_os_read_at(int fd, void *data, gsize length, guint64 offset)
{
    gsize done = 0;

    while (done < length) {
        gssize n = TEMP_FAILURE_RETRY(pread(
            fd, (char *)data + done, length - done, (off_t)(offset + done)));

        if (n < 0) {
            return failure();
        }
        if (!n) {
            break;
        }
        done += (gsize)n;
    }
    return (gssize)done;
}

int hm_os_lock(int fd, pid_t *holder)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int ret = result(fcntl(fd, F_SETLK, &lock));

    if (ret != -EAGAIN && ret != -EACCES) {
        return ret;
    }
    *holder = 0;
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
        *holder = MAX(lock.l_pid, 0);
    }
    return -EAGAIN;
}
