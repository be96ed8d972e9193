/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A version number says little: distributions backport, sandboxes forbid.  So
 * each feature is tried, on a page of memory or an unnamed file, and what the
 * kernel answers is believed.
 */
#include <linux/memfd.h>
#include <string.h>
#include "util/autofd.h"
#include "util/hostcaps.h"
#include "util/procfield.h"

#define THP_DIR "/sys/kernel/mm/transparent_hugepage"

static gboolean knows_advice(int advice)
{
    return hm_os_advise(NULL, 0, advice) == 0;
}

/* Tried in earnest: a sandbox may let the advice through but not the work. */
static gboolean can_populate(void *page, gsize size)
{
    return hm_os_advise(page, size, MADV_POPULATE_READ) == 0 &&
           hm_os_advise(page, size, MADV_POPULATE_WRITE) == 0;
}

/* Before 6.13 only harmless advice was allowed, even on oneself. */
static gboolean can_advise_self(void *page, gsize size)
{
    struct iovec range = {page, size};

    return hm_os_advise_vector(&range, 1, MADV_DONTNEED) == (gssize)size;
}

static void probe_memory(HmHostCaps *caps)
{
    void *page;

    caps->collapse = knows_advice(MADV_COLLAPSE);
    caps->dontneed_locked = knows_advice(MADV_DONTNEED_LOCKED);
    caps->merge = knows_advice(MADV_MERGEABLE);
    if (hm_os_map(NULL, caps->page_size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &page) < 0) {
        return;
    }
    caps->populate = can_populate(page, caps->page_size);
    caps->self_madvise = can_advise_self(page, caps->page_size);
    hm_os_unmap(page, caps->page_size);
}

static gboolean can_mount_tmpfs(void)
{
    static const HmTmpfsOptions options = {.huge = "always", .mode = 0700};
    hm_autofd int root = hm_os_tmpfs(&options);
    hm_autofd int fd = root < 0 ? -1 : hm_os_tmpfile(root, 0600);

    return fd >= 0;
}

static gboolean can_seal(void)
{
    hm_autofd int fd = hm_os_memfd("hostmem-probe", MFD_ALLOW_SEALING);

    return fd >= 0 && hm_os_add_seals(fd, F_SEAL_GROW) == 0;
}

static gboolean knows_hugetlb(void)
{
    hm_autofd int fd = hm_os_memfd("hostmem-probe", MFD_HUGETLB);

    return fd >= 0;
}

static gsize read_number(const char *path)
{
    g_autofree char *text = NULL;

    if (hm_os_read_text(path, &text) < 0) {
        return 0;
    }
    return (gsize)g_ascii_strtoull(text, NULL, 10);
}

static gsize default_huge_page_size(void)
{
    g_autofree char *text = NULL;

    if (hm_os_read_text("/proc/meminfo", &text) < 0) {
        return 0;
    }
    return (gsize)hm_procfield_bytes(text, "Hugepagesize");
}

void hm_hostcaps_probe(HmHostCaps *caps)
{
    *caps = (HmHostCaps){.page_size = hm_os_page_size()};
    probe_memory(caps);
    caps->private_tmpfs = can_mount_tmpfs();
    caps->memfd_sealing = can_seal();
    caps->memfd_hugetlb = knows_hugetlb();
    caps->thp_size = read_number(THP_DIR "/hpage_pmd_size");
    caps->huge_page_size = default_huge_page_size();
}

const HmHostCaps *hm_hostcaps_get(void)
{
    static HmHostCaps caps;
    static gsize probed;

    if (g_once_init_enter(&probed)) {
        hm_hostcaps_probe(&caps);
        g_once_init_leave(&probed, 1);
    }
    return &caps;
}

static const char *const thp_names[] = {
    [HM_THP_NEVER] = "never",
    [HM_THP_MADVISE] = "madvise",
    [HM_THP_ALWAYS] = "always",
};

static const char *const shmem_thp_names[] = {
    [HM_SHMEM_THP_NEVER] = "never",
    [HM_SHMEM_THP_ADVISE] = "advise",
    [HM_SHMEM_THP_ALWAYS] = "always",
    [HM_SHMEM_THP_WITHIN_SIZE] = "within_size",
    [HM_SHMEM_THP_DENY] = "deny",
    [HM_SHMEM_THP_FORCE] = "force",
};

/* Which of the words the file shows in brackets; 0, never, when it is not
 * there or says something new. */
static guint read_choice(const char *path, const char *const *words, guint n)
{
    g_autofree char *text = NULL;

    if (hm_os_read_text(path, &text) < 0) {
        return 0;
    }
    for (guint i = 0; i < n; i++) {
        g_autofree char *chosen = g_strdup_printf("[%s]", words[i]);

        if (strstr(text, chosen)) {
            return i;
        }
    }
    return 0;
}

HmThpPolicy hm_hostcaps_thp(void)
{
    return (HmThpPolicy)read_choice(THP_DIR "/enabled", thp_names,
                                    G_N_ELEMENTS(thp_names));
}

HmShmemThpPolicy hm_hostcaps_shmem_thp(void)
{
    return (HmShmemThpPolicy)read_choice(THP_DIR "/shmem_enabled",
                                         shmem_thp_names,
                                         G_N_ELEMENTS(shmem_thp_names));
}

const char *hm_thp_policy_name(HmThpPolicy policy)
{
    g_return_val_if_fail(policy < G_N_ELEMENTS(thp_names), NULL);
    return thp_names[policy];
}

const char *hm_shmem_thp_policy_name(HmShmemThpPolicy policy)
{
    g_return_val_if_fail(policy < G_N_ELEMENTS(shmem_thp_names), NULL);
    return shmem_thp_names[policy];
}
