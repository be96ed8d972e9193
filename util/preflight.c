/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A population that does not fit ends badly: SIGBUS on tmpfs and hugetlbfs, a
 * kill by the OOM killer for RAM.  So every place that could run out is asked
 * first.  Which places those are depends on what the bytes turn into:
 *
 *     storage    blocks of a filesystem, or of a hugetlbfs with a size limit
 *     huge       pages of a hugetlb pool, bounded by the hugetlb cgroups
 *     ram        pages of RAM, bounded by the memory cgroups
 *
 * Memory on tmpfs is storage and RAM at once.  A private copy of a tmpfs file
 * is RAM twice: the fault fills the hole of the file before it copies.
 *
 * The answers are a snapshot.  Others may take the memory a moment later; that
 * is why the check is cheap enough to be repeated while memory is populated.
 * What this very process is about to take is known, though: RAM is promised,
 * and a promise counts as taken as far as it has not been kept yet.
 */
#include <linux/magic.h>
#include "util/cgroup-limit.h"
#include "util/error.h"
#include "util/numa.h"
#include "util/os.h"
#include "util/pagesize.h"
#include "util/preflight.h"
#include "util/procfield.h"
#include "util/size.h"

/*
 * RAM that a population takes besides its own pages: page tables are 8 bytes
 * for each base page, and the index of the page cache of shmem is as much
 * again (measured: 512 KiB and 1.0 to 1.2 MiB for 256 MiB).
 */
#define PAGE_TABLE_PART 512
#define PAGE_CACHE_PART 400

/*
 * What must stay free for the process itself meanwhile.  In a cgroup the
 * numbers are exact; on the host MemAvailable is an estimate, and others are
 * hurt when it is wrong.  Half of it may be gone when a check is repeated:
 * else what just fitted would be refused at its last chunk.
 */
#define CGROUP_RESERVE (4 * HM_MIB)
#define HOST_RESERVE   (16 * HM_MIB)

struct HmPreflight {
    HmMemKind kind;
    guint64 page_size;
    HmIdset *nodes; /* NULL: any */
    int fd;
    gboolean private_copy;
    gboolean reserved;
    gboolean locked;
    char *what;
    char *where;
    HmCgroup *memory_cgroup;  /* NULL: not limited, or not visible */
    HmCgroup *hugetlb_cgroup; /* the same */
    gboolean repeated;        /* a check has succeeded before */
    HmLeftFunc left;          /* of what is promised; NULL: nothing is */
    gpointer left_data;
};

/* Process-wide, as the limits are: who holds a promise. */
static GMutex promises_lock;
static GList *promises; /* (element-type HmPreflight), borrowed */

/* What a number of bytes turns into. */
typedef struct {
    guint64 storage;
    guint64 huge;
    guint64 ram;
    guint64 overhead; /* RAM besides: page tables and their like */
    guint64 promised; /* RAM that others are about to take */
} Need;

static guint64 add(guint64 a, guint64 b)
{
    guint64 sum;

    return g_uint64_checked_add(&sum, a, b) ? sum : G_MAXUINT64;
}

static guint64 subtract(guint64 a, guint64 b)
{
    return a > b ? a - b : 0;
}

static guint64 multiply(guint64 a, guint64 b)
{
    guint64 product;

    return g_uint64_checked_mul(&product, a, b) ? product : G_MAXUINT64;
}

HmPreflight *hm_preflight_new(const HmPreflightRequest *request)
{
    HmPreflight *self = g_new0(HmPreflight, 1);

    self->kind = request->kind;
    self->page_size = request->page_size;
    self->nodes = request->nodes ? hm_idset_copy(request->nodes) : NULL;
    self->fd = request->fd;
    self->private_copy = request->private_copy;
    self->reserved = request->reserved;
    self->locked = request->locked;
    self->what = g_strdup(request->what);
    self->where = g_strdup(request->where);
    if (self->kind == HM_MEM_HUGETLB) {
        self->hugetlb_cgroup = hm_cgroup_find("hugetlb");
    } else {
        self->memory_cgroup = hm_cgroup_find("memory");
    }
    return self;
}

static void end_promise(HmPreflight *self)
{
    g_mutex_lock(&promises_lock);
    promises = g_list_remove(promises, self);
    g_mutex_unlock(&promises_lock);
}

void hm_preflight_free(HmPreflight *self)
{
    if (self) {
        end_promise(self);
        g_clear_pointer(&self->nodes, hm_idset_free);
        g_free(self->what);
        g_free(self->where);
        hm_cgroup_free(self->memory_cgroup);
        hm_cgroup_free(self->hugetlb_cgroup);
        g_free(self);
    }
}

/* Set "WHAT needs SIZE[ (plus OVERHEAD of overhead)]: REASON"; FALSE. */
static gboolean G_GNUC_PRINTF(6, 7)
    refuse(const HmPreflight *self, HostmemError code, guint64 bytes,
           guint64 overhead, GError **error, const char *format, ...)
{
    g_autofree char *size = hm_size_format(bytes);
    g_autofree char *more = hm_size_format(overhead);
    g_autofree char *reason = NULL;
    va_list args;

    va_start(args, format);
    reason = g_strdup_vprintf(format, args);
    va_end(args);
    if (!overhead) {
        return hm_set_error(error, code, "%s needs %s: %s", self->what, size,
                            reason);
    }
    return hm_set_error(error, code, "%s needs %s (plus %s of overhead): %s",
                        self->what, size, more, reason);
}

/* RAM that must be free besides the pages themselves. */
static guint64 overhead_of(const HmPreflight *self, const Need *need,
                           guint64 reserve)
{
    return add(need->overhead, self->repeated ? reserve / 2 : reserve);
}

/* All the RAM that must be free. */
static guint64 total_ram(const Need *need, guint64 overhead)
{
    return add(add(need->ram, overhead), need->promised);
}

/* Behind what is free or used: " and 2 GiB is promised to others", or "". */
static char *describe_promised(const Need *need)
{
    g_autofree char *size = hm_size_format(need->promised);

    return need->promised ? g_strdup_printf(" and %s is promised to what is "
                                            "being populated",
                                            size)
                          : g_strdup("");
}

/* "node 1", "nodes 0-3". */
static char *describe_nodes(const HmPreflight *self)
{
    g_autofree char *ids = hm_idset_to_string(self->nodes);

    return g_strconcat(hm_idset_count(self->nodes) == 1 ? "node " : "nodes ",
                       ids, NULL);
}

/* storage */

/* Bytes of the file that have no storage yet, as far as its size tells. */
static guint64 missing_storage(const HmPreflight *self, guint64 bytes)
{
    struct stat st;

    if (self->fd < 0 || hm_os_stat(self->fd, &st) < 0) {
        return bytes;
    }
    return subtract(bytes, (guint64)st.st_blocks * 512);
}

static const char *filesystem_name(const struct statfs *fs)
{
    switch ((guint64)fs->f_type) {
    case TMPFS_MAGIC:
        return "tmpfs";
    case HUGETLBFS_MAGIC:
        return "hugetlbfs";
    default:
        return "the filesystem";
    }
}

static gboolean check_storage(const HmPreflight *self, guint64 bytes,
                              GError **error)
{
    g_autofree char *there = NULL;
    struct statfs fs;
    guint64 available;

    /* Without blocks it has no limit of its own, as an unlimited tmpfs. */
    if (self->fd < 0 || hm_os_statfs(self->fd, &fs) < 0 || fs.f_blocks == 0) {
        return TRUE;
    }
    available = multiply(fs.f_bavail, (guint64)fs.f_bsize);
    if (bytes <= available) {
        return TRUE;
    }
    there = hm_size_format(available);
    return refuse(self, HOSTMEM_ERROR_NO_SPACE, bytes, 0, error,
                  "%s free on %s%s%s", there, filesystem_name(&fs),
                  self->where ? " of " : "", self->where ? self->where : "");
}

/* huge pages */

static gboolean check_pool(const HmPreflight *self, const HmHugePool *pool,
                           guint64 pages, GError **error)
{
    /* Pages reserved for the mapping itself are among the free ones. */
    guint64 free = self->reserved ? pool->free : hm_huge_pool_available(pool);
    g_autofree char *size = NULL;

    if (pages <= free) {
        return TRUE;
    }
    size = hm_size_format(self->page_size);
    return hm_set_error(
        error, HOSTMEM_ERROR_NO_HUGE_PAGES,
        "%s needs %" G_GUINT64_FORMAT " huge pages of %s: %" G_GUINT64_FORMAT
        " are free (pool %" G_GUINT64_FORMAT ", reserved %" G_GUINT64_FORMAT
        ", overcommit %" G_GUINT64_FORMAT ")",
        self->what, pages, size, free, pool->total, pool->reserved,
        pool->overcommit);
}

/* A reservation is for the whole pool: bound pages can lack all the same. */
static gboolean check_node_pools(const HmPreflight *self,
                                 const HmHugePool *pool, guint64 pages,
                                 GError **error)
{
    guint64 free = subtract(pool->overcommit, pool->surplus);
    g_autofree char *size = NULL;
    g_autofree char *nodes = NULL;

    HM_IDSET_FOREACH (self->nodes, node) {
        free = add(free, hm_huge_pool_free_on_node(self->page_size, node));
    }
    if (pages <= free) {
        return TRUE;
    }
    size = hm_size_format(self->page_size);
    nodes = describe_nodes(self);
    return hm_set_error(
        error, HOSTMEM_ERROR_NO_HUGE_PAGES,
        "%s needs %" G_GUINT64_FORMAT
        " huge pages of %s on %s: %" G_GUINT64_FORMAT
        " are free there (pool of all nodes %" G_GUINT64_FORMAT
        ", reserved %" G_GUINT64_FORMAT "; a reservation names no node)",
        self->what, pages, size, nodes, free, pool->total, pool->reserved);
}

/* The kernel's name of a huge page size in the hugetlb controller. */
static char *hugetlb_prefix(guint64 page_size)
{
    if (page_size >= HM_GIB) {
        return g_strdup_printf("hugetlb.%" G_GUINT64_FORMAT "GB.",
                               page_size / HM_GIB);
    }
    if (page_size >= HM_MIB) {
        return g_strdup_printf("hugetlb.%" G_GUINT64_FORMAT "MB.",
                               page_size / HM_MIB);
    }
    return g_strdup_printf("hugetlb.%" G_GUINT64_FORMAT "KB.",
                           page_size / HM_KIB);
}

static gboolean check_hugetlb_level(const HmPreflight *self, guint level,
                                    const char *prefix, guint64 bytes,
                                    GError **error)
{
    g_autofree char *allowed = NULL;
    g_autofree char *used = NULL;
    g_autofree char *size = NULL;
    guint64 limit, usage;

    if (!hm_cgroup_read_limit(self->hugetlb_cgroup, level, prefix, &limit,
                              &usage) ||
        bytes <= subtract(limit, usage)) {
        return TRUE;
    }
    allowed = hm_size_format(limit);
    used = hm_size_format(usage);
    size = hm_size_format(self->page_size);
    return refuse(self, HOSTMEM_ERROR_LIMIT, bytes, 0, error,
                  "cgroup %s allows %s in huge pages of %s and %s is used",
                  hm_cgroup_folder(self->hugetlb_cgroup, level), allowed, size,
                  used);
}

static gboolean check_hugetlb_cgroups(const HmPreflight *self, guint64 bytes,
                                      GError **error)
{
    g_autofree char *prefix = hugetlb_prefix(self->page_size);
    g_autofree char *reserve = g_strconcat(prefix, "rsvd.", NULL);
    const HmCgroup *cgroup = self->hugetlb_cgroup;
    guint levels = cgroup ? hm_cgroup_levels(cgroup) : 0;

    for (guint level = 0; level < levels; level++) {
        if (!check_hugetlb_level(self, level, prefix, bytes, error) ||
            (!self->reserved &&
             !check_hugetlb_level(self, level, reserve, bytes, error))) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean check_huge(const HmPreflight *self, guint64 bytes,
                           GError **error)
{
    guint64 pages = bytes / self->page_size + (bytes % self->page_size != 0);
    HmHugePool pool;

    if (hm_huge_pool_read(self->page_size, &pool, NULL)) {
        if (!check_pool(self, &pool, pages, error) ||
            (self->nodes && !check_node_pools(self, &pool, pages, error))) {
            return FALSE;
        }
    }
    return check_hugetlb_cgroups(self, bytes, error);
}

/* RAM */

static gboolean check_host_memory(const HmPreflight *self, const Need *need,
                                  GError **error)
{
    guint64 overhead = overhead_of(self, need, HOST_RESERVE);
    g_autofree char *text = NULL;
    g_autofree char *free = NULL;
    g_autofree char *swap = NULL;
    g_autofree char *promised = describe_promised(need);
    guint64 available, swap_free = 0;

    if (hm_os_read_text("/proc/meminfo", &text) < 0 ||
        !hm_procfield_number(text, "MemAvailable:", &available)) {
        return TRUE;
    }
    available = multiply(available, HM_KIB);
    if (!self->locked && hm_procfield_number(text, "SwapFree:", &swap_free)) {
        swap_free = multiply(swap_free, HM_KIB);
    }
    if (total_ram(need, overhead) <= add(available, swap_free)) {
        return TRUE;
    }
    free = hm_size_format(available);
    if (self->locked) {
        return refuse(self, HOSTMEM_ERROR_NO_MEMORY, need->ram, overhead, error,
                      "%s of memory are available, and what is locked cannot "
                      "be swapped out%s",
                      free, promised);
    }
    swap = hm_size_format(swap_free);
    return refuse(self, HOSTMEM_ERROR_NO_MEMORY, need->ram, overhead, error,
                  "%s of memory and %s of swap are available%s", free, swap,
                  promised);
}

static gboolean check_node_memory(const HmPreflight *self, const Need *need,
                                  GError **error)
{
    guint64 overhead = overhead_of(self, need, HOST_RESERVE);
    g_autofree char *nodes = NULL;
    g_autofree char *free = NULL;
    g_autofree char *promised = describe_promised(need);
    guint64 available = 0;

    HM_IDSET_FOREACH (self->nodes, node) {
        HmNodeMemory memory;

        if (!hm_numa_node_memory(node, &memory, NULL)) {
            return TRUE;
        }
        available = add(available, memory.available);
    }
    if (total_ram(need, overhead) <= available) {
        return TRUE;
    }
    nodes = describe_nodes(self);
    free = hm_size_format(available);
    return refuse(self, HOSTMEM_ERROR_NO_MEMORY, need->ram, overhead, error,
                  "%s of memory are available on %s%s", free, nodes, promised);
}

static gboolean check_memory_level(const HmPreflight *self, guint level,
                                   const Need *need, GError **error)
{
    const HmCgroup *cgroup = self->memory_cgroup;
    guint64 overhead = overhead_of(self, need, CGROUP_RESERVE);
    guint64 bytes = total_ram(need, overhead);
    g_autofree char *allowed = NULL;
    g_autofree char *used = NULL;
    g_autofree char *promised = describe_promised(need);
    guint64 limit, usage;

    if (!hm_cgroup_read_limit(cgroup, level, "memory.", &limit, &usage) ||
        bytes <= subtract(limit, usage)) {
        return TRUE;
    }
    /* Statistics cost more than the rest: read them only in doubt. */
    usage = subtract(usage, hm_cgroup_read_reclaimable(cgroup, level));
    if (bytes <= subtract(limit, usage)) {
        return TRUE;
    }
    allowed = hm_size_format(limit);
    used = hm_size_format(usage);
    return refuse(self, HOSTMEM_ERROR_LIMIT, need->ram, overhead, error,
                  "cgroup %s allows %s and %s is used%s",
                  hm_cgroup_folder(cgroup, level), allowed, used, promised);
}

static gboolean check_memory_cgroups(const HmPreflight *self, const Need *need,
                                     GError **error)
{
    const HmCgroup *cgroup = self->memory_cgroup;
    guint levels = cgroup ? hm_cgroup_levels(cgroup) : 0;

    for (guint level = 0; level < levels; level++) {
        if (!check_memory_level(self, level, need, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean check_ram(const HmPreflight *self, const Need *need,
                          GError **error)
{
    if (!(self->nodes ? check_node_memory(self, need, error)
                      : check_host_memory(self, need, error))) {
        return FALSE;
    }
    return check_memory_cgroups(self, need, error);
}

/* all of it */

static Need shmem_need(const HmPreflight *self, guint64 bytes)
{
    Need need = {.storage = bytes, .ram = bytes};

    need.overhead = bytes / PAGE_TABLE_PART;
    if (self->private_copy) {
        need.storage = missing_storage(self, bytes);
        need.overhead = add(need.overhead, need.storage);
    }
    need.overhead = add(need.overhead, need.storage / PAGE_CACHE_PART);
    return need;
}

static Need find_need(const HmPreflight *self, guint64 bytes)
{
    Need ram = {.ram = bytes, .overhead = bytes / PAGE_TABLE_PART};

    switch (self->kind) {
    case HM_MEM_SHMEM:
        return shmem_need(self, bytes);
    case HM_MEM_HUGETLB:
        /* A mapping that holds its reservation has paid the filesystem. */
        return (Need){.storage = self->reserved ? 0 : bytes, .huge = bytes};
    case HM_MEM_FILE:
    case HM_MEM_DAX:
        return self->private_copy ? ram : (Need){.storage = bytes};
    case HM_MEM_ANON:
    default:
        return ram;
    }
}

static gboolean check_need(HmPreflight *self, const Need *need, GError **error)
{
    if ((need->storage && !check_storage(self, need->storage, error)) ||
        (need->huge && !check_huge(self, need->huge, error)) ||
        (need->ram && !check_ram(self, need, error))) {
        return FALSE;
    }
    self->repeated = TRUE;
    return TRUE;
}

gboolean hm_preflight_check(HmPreflight *self, guint64 bytes, GError **error)
{
    Need need = find_need(self, bytes);

    return check_need(self, &need, error);
}

/* RAM that is promised and not taken yet. */
static guint64 sum_of_promises(void)
{
    guint64 sum = 0;

    for (GList *at = promises; at; at = at->next) {
        const HmPreflight *other = at->data;
        Need need = find_need(other, other->left(other->left_data));

        sum = add(sum, add(need.ram, need.ram ? need.overhead : 0));
    }
    return sum;
}

gboolean hm_preflight_promise(HmPreflight *self, guint64 bytes, HmLeftFunc left,
                              gpointer data, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&promises_lock);
    Need need = find_need(self, bytes);

    g_return_val_if_fail(!self->left, FALSE);

    need.promised = sum_of_promises();
    if (!check_need(self, &need, error)) {
        return FALSE;
    }
    self->left = left;
    self->left_data = data;
    promises = g_list_prepend(promises, self);
    return TRUE;
}
