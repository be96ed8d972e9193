/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * mmap(2) chooses addresses that suit a base page.  Huge pages want more: the
 * address aligned to their size, and address and file offset equal modulo that
 * size.  So more address space than needed is reserved without access first;
 * a good place in it is chosen and the rest given back but for one page behind
 * the memory, on which whoever runs off its end faults.  The memory is then
 * mapped over the reservation, which nobody else can take meanwhile.  Room for
 * more memory is a longer reservation: see mmap-resize.c.
 *
 * The kernel has one word, ENOMEM, for half a dozen limits.  Which one it was
 * is found out afterwards, for the message.
 */
#include <errno.h>
#include "util/align.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/mmap-private.h"
#include "util/os.h"
#include "util/pagesize.h"
#include "util/procfield.h"
#include "util/size.h"

/* What the memory needs of its place. */
typedef struct {
    gsize align;  /* power of two */
    gsize skew;   /* below @align; added to an aligned address */
    gsize length; /* guard included */
    gsize total;  /* to reserve, so that an aligned place is in it */
} Place;

/* What stood in the way, for behind the errno. */
typedef struct {
    HostmemError code;
    char *text; /* NULL: not known */
} Cause;

/* saying why */

static guint64 field_bytes(const char *path, const char *key)
{
    g_autofree char *text = NULL;

    return hm_os_read_text(path, &text) < 0 ? 0 : hm_procfield_bytes(text, key);
}

/* Whether @bytes more, on top of @used, exceed an rlimit. */
static gboolean blame_limit(int resource, const char *name, guint64 used,
                            guint64 bytes, Cause *cause)
{
    guint64 limit = G_MAXUINT64;
    guint64 sum;
    g_autofree char *need = hm_size_format(bytes);
    g_autofree char *have = hm_size_format(used);
    g_autofree char *most = NULL;

    hm_os_get_limit(resource, &limit);
    if (limit == G_MAXUINT64 ||
        (g_uint64_checked_add(&sum, used, bytes) && sum <= limit)) {
        return FALSE;
    }
    most = hm_size_format(limit);
    cause->code = HOSTMEM_ERROR_LIMIT;
    cause->text = g_strdup_printf("needs %s, %s is %s and %s of it are used",
                                  need, name, most, have);
    return TRUE;
}

static void blame_address_space(guint64 room, guint64 bytes, Cause *cause)
{
    g_autofree char *need = hm_size_format(room);
    guint64 used = field_bytes("/proc/self/status", "VmSize");

    if (!blame_limit(RLIMIT_AS, "RLIMIT_AS", used, bytes, cause)) {
        cause->text = g_strdup_printf("needs %s of address space", need);
    }
}

/* A hugetlbfs may have a size limit of its own; without it has no blocks. */
static gboolean blame_mount(const HmBacking *backing, Cause *cause)
{
    g_autofree char *need = NULL;
    g_autofree char *free = NULL;
    g_autofree char *all = NULL;
    guint64 missing, available;
    struct statfs fs;
    struct stat st;

    if (hm_os_statfs(backing->fd, &fs) < 0 || !fs.f_blocks ||
        hm_os_stat(backing->fd, &st) < 0) {
        return FALSE;
    }
    missing =
        backing->length - MIN(backing->length, (guint64)st.st_blocks * 512);
    available = fs.f_bavail * (guint64)fs.f_bsize;
    if (missing <= available) {
        return FALSE;
    }
    need = hm_size_format(missing);
    free = hm_size_format(available);
    all = hm_size_format(fs.f_blocks * (guint64)fs.f_bsize);
    cause->code = HOSTMEM_ERROR_NO_SPACE;
    cause->text = g_strdup_printf(
        "needs %s, %s of the %s of its hugetlbfs are free", need, free, all);
    return TRUE;
}

static void blame_huge_pages(const HmBacking *backing, Cause *cause)
{
    g_autofree char *size = hm_size_format(backing->page_size);
    HmHugePool pool;

    if (blame_mount(backing, cause)) {
        return;
    }
    cause->code = HOSTMEM_ERROR_NO_HUGE_PAGES;
    if (!hm_huge_pool_read(backing->page_size, &pool, NULL)) {
        return;
    }
    cause->text = g_strdup_printf(
        "needs %" G_GUINT64_FORMAT " huge pages of %s, %" G_GUINT64_FORMAT
        " of %" G_GUINT64_FORMAT " in the pool are available",
        backing->length / backing->page_size, size,
        hm_huge_pool_available(&pool), pool.total);
}

static guint overcommit_mode(void)
{
    g_autofree char *text = NULL;

    if (hm_os_read_text("/proc/sys/vm/overcommit_memory", &text) < 0) {
        return 0;
    }
    return (guint)g_ascii_strtoull(text, NULL, 10);
}

static void blame_overcommit(guint64 bytes, Cause *cause)
{
    static const char meminfo[] = "/proc/meminfo";
    gboolean strict = overcommit_mode() == 2;
    guint64 most = field_bytes(meminfo, strict ? "CommitLimit" : "MemTotal");
    guint64 also = field_bytes(meminfo, strict ? "Committed_AS" : "SwapTotal");
    g_autofree char *need = hm_size_format(bytes);
    g_autofree char *first = hm_size_format(most);
    g_autofree char *second = hm_size_format(also);

    cause->code = strict ? HOSTMEM_ERROR_LIMIT : HOSTMEM_ERROR_NO_MEMORY;
    cause->text = g_strdup_printf(
        strict ? "needs %s, overcommit_memory is 2, CommitLimit is %s and %s "
                 "are committed"
               : "needs %s, the host has %s of RAM and %s of swap",
        need, first, second);
}

/* Memory that counts as the process's own, not as a file's. */
static gboolean is_private_writable(const HmBacking *backing,
                                    const HmMappingOptions *options)
{
    return !backing->shared && !options->readonly;
}

static void blame_memory(const HmBacking *backing,
                         const HmMappingOptions *options, Cause *cause)
{
    if (backing->kind == HM_MEM_HUGETLB) {
        blame_huge_pages(backing, cause);
    } else if (is_private_writable(backing, options)) {
        blame_overcommit(backing->length, cause);
    }
}

static HostmemError code_of(int err)
{
    return err == ENODEV || err == EOPNOTSUPP ? HOSTMEM_ERROR_UNSUPPORTED
                                              : hm_error_from_errno(err);
}

/* Frees the text of the cause.  Returns: FALSE */
static gboolean fail(const HmBacking *backing, const HmMappingOptions *options,
                     int err, const Cause *cause, GError **error)
{
    g_autofree char *text = cause->text;
    g_autofree char *what =
        backing->kind == HM_MEM_ANON
            ? g_strdup_printf("cannot set up guest memory '%s'",
                              options->name ? options->name : "")
            : g_strdup("unable to map backing store for guest RAM");

    return hm_set_error(error, cause->code, "%s: %s%s%s%s", what,
                        g_strerror(err), text ? " (" : "", text ? text : "",
                        text ? ")" : "");
}

/* the place */

/* Bytes that the memory may come to. */
static guint64 room_of(const HmBacking *backing,
                       const HmMappingOptions *options)
{
    return MAX(backing->length, options->room);
}

/* Alignment for speed: a huge page, where at least one fits. */
static gsize huge_align(guint64 room)
{
    gsize thp = hm_hostcaps_get()->thp_size;

    return thp && room >= thp ? thp : 0;
}

/* FALSE, and untouched, when no address space is as large. */
static gboolean choose_place(const HmBacking *backing,
                             const HmMappingOptions *options, Place *place)
{
    const guint64 room = room_of(backing, options);
    gsize guard = hm_os_page_size();
    gsize huge = huge_align(room);
    guint64 align, length, total;

    align = MAX(MAX(backing->page_size, options->align), huge);
    if (!g_uint64_checked_add(&length, room, guard) ||
        !g_uint64_checked_add(&total, length, align) || total > G_MAXSSIZE) {
        return FALSE;
    }
    *place = (Place){.align = align, .length = length, .total = total};
    if (options->align <= backing->page_size && huge) {
        place->skew = backing->offset & (huge - 1);
    }
    return TRUE;
}

static void give_back(guint8 *start, const guint8 *end)
{
    if (start < end) {
        hm_os_unmap(start, (gsize)(end - start));
    }
}

/* Keep the part of the reservation that the memory and its guard take. */
static void trim(HmMapping *self, const Place *place)
{
    guint8 *start = self->reserved;
    guint8 *end = start + self->reserved_length;
    gsize ahead = (place->skew - (guintptr)start) & (place->align - 1);

    give_back(start, start + ahead);
    give_back(start + ahead + place->length, end);
    self->reserved = start + ahead;
    self->reserved_length = place->length;
}

gboolean hm_mapping_reserve(HmMapping *self, const HmBacking *backing,
                            const HmMappingOptions *options, GError **error)
{
    Place place = {.total = room_of(backing, options)};
    Cause cause = {.code = HOSTMEM_ERROR_NO_MEMORY};
    int ret = -ENOMEM;

    if (choose_place(backing, options, &place)) {
        ret = hm_os_map(NULL, place.total, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
                        &self->reserved);
    }
    if (ret < 0) {
        blame_address_space(room_of(backing, options), place.total, &cause);
        return fail(backing, options, -ret, &cause, error);
    }
    self->reserved_length = place.total;
    trim(self, &place);
    return TRUE;
}

/* the memory */

static int map_flags(const HmBacking *backing, const HmMappingOptions *options)
{
    int flags = MAP_FIXED | (options->noreserve ? MAP_NORESERVE : 0);

    if (backing->fd < 0 && !backing->parts) {
        return flags | MAP_PRIVATE | MAP_ANONYMOUS;
    }
    if (!backing->shared) {
        return flags | MAP_PRIVATE;
    }
    return flags |
           (options->sync ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED);
}

/* One after the other, in place of the reservation. */
static int map_parts(guint8 *start, const HmBacking *backing, int prot,
                     int flags)
{
    int ret = 0;

    for (guint i = 0; i < backing->n_parts && ret == 0; i++) {
        const HmBackingPart *part = &backing->parts[i];
        void *addr;

        ret = hm_os_map(start + part->offset, (gsize)part->length, prot, flags,
                        part->fd, part->fd_offset, &addr);
    }
    return ret;
}

gboolean hm_mapping_set_error(const HmBacking *backing,
                              const HmMappingOptions *options, int err,
                              GError **error)
{
    Cause cause = {.code = code_of(err)};

    if (err == ENOMEM) {
        blame_memory(backing, options, &cause);
    }
    return fail(backing, options, err, &cause, error);
}

gboolean hm_mapping_activate(void *start, const HmBacking *backing,
                             const HmMappingOptions *options, GError **error)
{
    int prot = options->readonly ? PROT_READ : PROT_READ | PROT_WRITE;
    int flags = map_flags(backing, options);
    void *addr;
    int ret;

    if (backing->parts) {
        ret = map_parts(start, backing, prot, flags);
    } else {
        ret = hm_os_map(start, (gsize)backing->length, prot, flags, backing->fd,
                        backing->offset, &addr);
    }
    return ret == 0 || hm_mapping_set_error(backing, options, -ret, error);
}

/* With overcommit_memory 2 the kernel takes no notice of MAP_NORESERVE. */
static gboolean check_noreserve(const HmBacking *backing,
                                const HmMappingOptions *options, GError **error)
{
    if (!options->noreserve || backing->kind == HM_MEM_HUGETLB ||
        !is_private_writable(backing, options) || overcommit_mode() != 2) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                        "Skipping reservation of swap space is not supported: "
                        "overcommit_memory is 2 on this host");
}

/*
 * mmap(2) takes the reservation that is mapped over for data that goes, and
 * lets memory escape this limit.  But it counts: no thread got a stack then.
 */
static gboolean check_data_limit(const HmBacking *backing,
                                 const HmMappingOptions *options,
                                 GError **error)
{
    guint64 used = field_bytes("/proc/self/status", "VmData");
    Cause cause = {0};

    if (!is_private_writable(backing, options) ||
        !blame_limit(RLIMIT_DATA, "RLIMIT_DATA", used, backing->length,
                     &cause)) {
        return TRUE;
    }
    return fail(backing, options, ENOMEM, &cause, error);
}

gboolean hm_mapping_check(const HmBacking *backing,
                          const HmMappingOptions *options, GError **error)
{
    return check_noreserve(backing, options, error) &&
           check_data_limit(backing, options, error);
}

gboolean hm_mapping_init(HmMapping *self, const HmBacking *backing,
                         const HmMappingOptions *options, GError **error)
{
    g_auto(HmMapping) made = {0};

    g_return_val_if_fail(backing->length &&
                             hm_is_aligned(backing->length, backing->page_size),
                         FALSE);
    g_return_val_if_fail(!options->align || hm_is_pow2(options->align), FALSE);
    if (!hm_mapping_check(backing, options, error) ||
        !hm_mapping_reserve(&made, backing, options, error) ||
        !hm_mapping_activate(made.reserved, backing, options, error)) {
        return FALSE;
    }
    made.addr = made.reserved;
    made.length = (gsize)backing->length;
    *self = made;
    made = (HmMapping){0};
    return TRUE;
}

void hm_mapping_clear(HmMapping *self)
{
    if (self->reserved) {
        hm_os_unmap(self->reserved, self->reserved_length);
    }
    *self = (HmMapping){0};
}
