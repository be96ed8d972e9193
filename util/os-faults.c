/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Of util/os.h, what lets writes wait, userfaultfd(2), and what tells pages
 * from the marks that it leaves where there are none, mincore(2).
 *
 * The descriptor comes from a device, which a file mode guards, or from a
 * system call, for which a capability or a sysctl is needed.  Faults of the
 * kernel itself are told of as well: KVM's vCPUs and read(2) have no others.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "util/autofd.h"
#include "util/os-private.h"
#include "util/os.h"

#define DEVICE "/dev/userfaultfd"
#define BATCH  16

#define VECTOR 4096

static void add_pages(HmRangeList *ranges, const guint8 *pages, gsize n,
                      guint64 offset, gsize page)
{
    for (gsize i = 0; i < n; i++) {
        const HmRange range = {offset + i * page, page};

        if (pages[i] & 1) {
            hm_range_list_add(ranges, &range);
        }
    }
}

int hm_os_resident_ranges(void *addr, gsize length, HmRangeList *ranges)
{
    const gsize page = hm_os_page_size();
    guint8 pages[VECTOR];

    for (gsize at = 0; at < length; at += VECTOR * page) {
        const gsize piece = MIN(VECTOR * page, length - at);
        int ret = result(mincore((guint8 *)addr + at, piece, pages));

        if (ret < 0) {
            return ret;
        }
        add_pages(ranges, pages, piece / page, at, page);
    }
    return 0;
}

static int open_by_device(void)
{
    hm_autofd int device = hm_os_open(DEVICE, O_RDWR, 0);

    if (device < 0) {
        return hm_steal_fd(&device);
    }
    return result(ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
}

static int open_faultfd(void)
{
    int fd = open_by_device();

    return fd >= 0 ? fd
                   : result(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
}

/* Once for a descriptor. */
static int shake_hands(int fd, guint64 *features)
{
    struct uffdio_api api = {.api = UFFD_API, .features = *features};
    int ret = result(ioctl(fd, UFFDIO_API, &api));

    *features = api.features;
    return ret;
}

int hm_os_faultfd_features(guint64 *features)
{
    hm_autofd int fd = open_faultfd();

    if (fd < 0) {
        return hm_steal_fd(&fd);
    }
    *features = 0;
    return shake_hands(fd, features);
}

int hm_os_faultfd(guint64 features)
{
    hm_autofd int fd = open_faultfd();
    int ret;

    if (fd < 0) {
        return hm_steal_fd(&fd);
    }
    ret = shake_hands(fd, &features);
    return ret < 0 ? ret : hm_steal_fd(&fd);
}

static struct uffdio_range range_of(const void *addr, gsize length)
{
    return (struct uffdio_range){.start = (guintptr)addr, .len = length};
}

int hm_os_faultfd_register(int fd, void *addr, gsize length)
{
    struct uffdio_register arg = {.range = range_of(addr, length),
                                  .mode = UFFDIO_REGISTER_MODE_WP};
    int ret = result(ioctl(fd, UFFDIO_REGISTER, &arg));

    if (ret < 0) {
        return ret;
    }
    if (arg.ioctls & (G_GUINT64_CONSTANT(1) << _UFFDIO_WRITEPROTECT)) {
        return 0;
    }
    hm_os_faultfd_unregister(fd, addr, length);
    return -EINVAL;
}

int hm_os_faultfd_unregister(int fd, void *addr, gsize length)
{
    struct uffdio_range range = range_of(addr, length);
    int ret = result(ioctl(fd, UFFDIO_UNREGISTER, &range));

    /* Who waits for a protection to be lifted is not woken by that. */
    ioctl(fd, UFFDIO_WAKE, &range);
    return ret;
}

int hm_os_write_protect(int fd, void *addr, gsize length, gboolean on)
{
    struct uffdio_writeprotect arg = {
        .range = range_of(addr, length),
        .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
    };
    int ret;

    do {
        ret = result(ioctl(fd, UFFDIO_WRITEPROTECT, &arg));
    } while (ret == -EAGAIN || ret == -EINTR);
    return ret;
}

int hm_os_faultfd_read(int fd, guint64 *addresses, guint n)
{
    struct uffd_msg messages[BATCH] = {0};
    gsize want = MIN(n, BATCH) * sizeof(*messages);
    gssize got = TEMP_FAILURE_RETRY(read(fd, messages, want));
    int found = 0;

    if (got < 0) {
        return errno == EAGAIN ? 0 : failure();
    }
    for (gsize i = 0; i < (gsize)got / sizeof(*messages); i++) {
        if (messages[i].event == UFFD_EVENT_PAGEFAULT) {
            addresses[found++] = messages[i].arg.pagefault.address;
        }
    }
    return found;
}

/* A page of our own that is not there, and protected. */
static int mark_page(void *addr, guint64 *mark)
{
    hm_autofd int fd = hm_os_faultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
                                     UFFD_FEATURE_WP_UNPOPULATED);
    const gsize page = hm_os_page_size();
    int ret = fd < 0 ? fd : hm_os_faultfd_register(fd, addr, page);

    ret = ret < 0 ? ret : hm_os_write_protect(fd, addr, page, TRUE);
    return ret < 0 ? ret : hm_os_mark_at(addr, mark);
}

int hm_os_fault_mark(guint64 *mark)
{
    void *addr;
    int ret = hm_os_map(NULL, hm_os_page_size(), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &addr);

    if (ret < 0) {
        return ret;
    }
    ret = mark_page(addr, mark);
    hm_os_unmap(addr, hm_os_page_size());
    return ret;
}
