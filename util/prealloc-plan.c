/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/error.h"
#include "util/prealloc-plan.h"

/*
 * Theory of operation
 *
 * Each kind of mapping has a row: a function that appends steps to the plan.
 * Three forces decide.  Page size: faulting 2 MiB at once is 10 to 20 times
 * faster than 4 KiB pages, so huge pages are sought wherever the host lets us.
 * Locks: fallocate holds the inode's lock, so it helps one thread and hampers
 * several, except where it is so cheap that it does not matter (extents of a
 * filesystem).  Harm: some steps are right for one mapping and ruinous for
 * another; MADV_HUGEPAGE makes a regular file an order of magnitude slower,
 * fallocate on hugetlb zeroes serially, and on a tmpfs it takes what huge pages
 * lie about, and base pages for the rest, where a fault in advised memory
 * reclaims and compacts until it has one.
 *
 * Huge pages on a tmpfs that is not ours come from seeding one page in each
 * and MADV_COLLAPSE, whatever the shmem policy says: the policy is that of
 * memfds, while a file obeys the mount options of its tmpfs, which we cannot
 * see.  Where the policy gives huge pages by itself, the seed gets one and the
 * collapse has nothing to do.  Only "deny" forbids the collapse too, and only
 * "force" holds for every tmpfs, so that a fault is sure to try huge pages.
 */

static const char *const step_names[] = {
    [HM_STEP_ADVISE_HUGE] = "hugepage",
    [HM_STEP_ALLOCATE] = "fallocate",
    [HM_STEP_SEED_HUGE] = "seed",
    [HM_STEP_COLLAPSE] = "collapse",
    [HM_STEP_POPULATE_READ] = "populate-read",
    [HM_STEP_POPULATE_WRITE] = "populate-write",
    [HM_STEP_TOUCH_READ] = "touch-read",
    [HM_STEP_TOUCH_WRITE] = "touch-write",
};

const char *hm_prealloc_step_name(HmPreallocStep step)
{
    g_return_val_if_fail(step < G_N_ELEMENTS(step_names), NULL);
    return step_names[step];
}

static void add_whole(HmPreallocPlan *plan, HmPreallocStep step)
{
    g_assert(plan->n_whole < HM_PLAN_MAX_STEPS);
    plan->whole[plan->n_whole++] = step;
}

static void add_chunk(HmPreallocPlan *plan, HmPreallocStep step)
{
    g_assert(plan->n_chunk < HM_PLAN_MAX_STEPS);
    plan->chunk[plan->n_chunk++] = step;
}

/** The step that fills the page tables for @state. */
static void add_fill(HmPreallocPlan *plan, const HmPreallocFacts *facts,
                     HmPreallocState state)
{
    gboolean write = state == HM_STATE_WRITABLE;

    if (facts->caps.populate) {
        add_chunk(plan, write ? HM_STEP_POPULATE_WRITE : HM_STEP_POPULATE_READ);
    } else {
        add_chunk(plan, write ? HM_STEP_TOUCH_WRITE : HM_STEP_TOUCH_READ);
    }
}

static void advise_huge(HmPreallocPlan *plan, const HmPreallocFacts *facts)
{
    if (!facts->advised) {
        add_whole(plan, HM_STEP_ADVISE_HUGE);
    }
    plan->huge_size = facts->caps.thp_size;
}

static gboolean wants_huge(const HmPreallocFacts *facts)
{
    return facts->use_thp && facts->caps.thp_size &&
           facts->length >= facts->caps.thp_size;
}

/** Whether storage is the file's and may be made there. */
static gboolean can_allocate(const HmPreallocFacts *facts)
{
    return facts->shared && facts->writable &&
           (facts->kind == HM_MEM_SHMEM || facts->kind == HM_MEM_FILE ||
            facts->kind == HM_MEM_DAX);
}

static void plan_anon(const HmPreallocFacts *facts, HmPreallocPlan *plan)
{
    if (!wants_huge(facts)) {
        plan->reason = "base pages, populated in parallel";
        add_fill(plan, facts, facts->state);
    } else if (facts->thp == HM_THP_NEVER) {
        plan->reason = "the host's policy forbids transparent huge pages";
        add_fill(plan, facts, facts->state);
    } else {
        /* Reading would map the huge zero page, which a later write splits. */
        plan->reason = "transparent huge pages, populated in parallel";
        advise_huge(plan, facts);
        add_fill(plan, facts, HM_STATE_WRITABLE);
    }
}

static void plan_shmem_small(const HmPreallocFacts *facts, HmPreallocPlan *plan)
{
    if (!facts->caps.populate) {
        plan->reason = "without MADV_POPULATE, storage first, then a touch";
        add_chunk(plan, HM_STEP_ALLOCATE);
    } else if (facts->threads <= 1) {
        plan->reason = "base pages: one thread allocates faster than it faults";
        add_chunk(plan, HM_STEP_ALLOCATE);
    } else {
        plan->reason = "base pages: fallocate would serialize the threads";
    }
    add_fill(plan, facts, facts->state);
}

static void plan_shmem_collapse(const HmPreallocFacts *facts,
                                HmPreallocPlan *plan)
{
    plan->reason = "seeded pages are collapsed into huge pages";
    advise_huge(plan, facts);
    add_chunk(plan, HM_STEP_SEED_HUGE);
    add_chunk(plan, HM_STEP_COLLAPSE);
    add_fill(plan, facts, facts->state);
}

static void plan_shmem_allocate(const HmPreallocFacts *facts,
                                HmPreallocPlan *plan)
{
    plan->reason = "storage first, which takes huge pages where it finds them";
    add_whole(plan, HM_STEP_ALLOCATE);
    plan->huge_size = facts->caps.thp_size;
    add_fill(plan, facts, facts->state);
}

static void plan_shmem_advise(const HmPreallocFacts *facts,
                              HmPreallocPlan *plan)
{
    plan->reason = "huge pages where advised, populated in parallel";
    advise_huge(plan, facts);
    add_fill(plan, facts, facts->state);
}

/* Where huge pages need no advice, the advice still has the kernel make room
 * for them. */
static void plan_shmem_always(const HmPreallocFacts *facts,
                              HmPreallocPlan *plan)
{
    if (facts->caps.populate) {
        plan_shmem_advise(facts, plan);
    } else {
        plan_shmem_allocate(facts, plan);
    }
}

static gboolean can_collapse(const HmPreallocFacts *facts)
{
    return facts->kind == HM_MEM_SHMEM && !facts->own_tmpfs &&
           wants_huge(facts) && facts->caps.collapse && facts->caps.populate &&
           facts->shmem_thp != HM_SHMEM_THP_DENY &&
           facts->shmem_thp != HM_SHMEM_THP_FORCE;
}

static void plan_shmem_huge(const HmPreallocFacts *facts, HmPreallocPlan *plan)
{
    HmShmemThpPolicy policy = facts->shmem_thp;

    if (policy == HM_SHMEM_THP_DENY) {
        plan_shmem_small(facts, plan);
    } else if (facts->own_tmpfs || policy == HM_SHMEM_THP_FORCE) {
        plan_shmem_always(facts, plan);
    } else if (can_collapse(facts)) {
        plan_shmem_collapse(facts, plan);
    } else if (policy == HM_SHMEM_THP_NEVER) {
        plan_shmem_small(facts, plan);
    } else if (policy == HM_SHMEM_THP_ADVISE) {
        plan_shmem_advise(facts, plan);
    } else {
        plan_shmem_always(facts, plan);
    }
}

static void plan_shmem(const HmPreallocFacts *facts, HmPreallocPlan *plan)
{
    if (wants_huge(facts)) {
        plan_shmem_huge(facts, plan);
    } else if (facts->own_tmpfs) {
        plan_shmem_allocate(facts, plan);
    } else {
        plan_shmem_small(facts, plan);
    }
}

static void plan_file(const HmPreallocFacts *facts, HmPreallocPlan *plan)
{
    plan->reason = "storage first, then page tables in parallel";
    add_whole(plan, HM_STEP_ALLOCATE);
    add_fill(plan, facts, facts->state);
}

/*
 * Base pages of fallocate would not only take longer to make than huge ones:
 * each of them would have to be copied when they are collapsed later.
 */
static void plan_backed_collapse(const HmPreallocFacts *facts,
                                 HmPreallocPlan *plan)
{
    plan->reason = "huge pages are made faster than base pages are allocated";
    advise_huge(plan, facts);
    add_chunk(plan, HM_STEP_SEED_HUGE);
    add_chunk(plan, HM_STEP_COLLAPSE);
    add_chunk(plan, HM_STEP_ALLOCATE);
}

static void plan_backed(const HmPreallocFacts *facts, HmPreallocPlan *plan)
{
    if (can_allocate(facts) && can_collapse(facts)) {
        plan_backed_collapse(facts, plan);
    } else if (can_allocate(facts)) {
        add_whole(plan, HM_STEP_ALLOCATE);
        plan->reason = "fallocate guarantees the storage";
    } else if (facts->kind == HM_MEM_HUGETLB) {
        plan->reason = "huge pages are reserved when they are mapped";
    } else {
        plan->reason = "private memory has no backed state";
    }
}

/** Where there is nothing to prepare. */
static void plan_in_place(const HmPreallocFacts *facts, HmPreallocPlan *plan)
{
    if (facts->kind == HM_MEM_HUGETLB) {
        plan->reason = "huge pages are reserved, and zeroed in parallel";
    } else if (!facts->writable) {
        plan->reason = "read-only memory is read";
    } else {
        plan->reason = "a private mapping leaves the file alone";
    }
    add_fill(plan, facts, facts->state);
}

/*
 * Present is not writable: a page may be the zero page, shared with others
 * (KSM) or protected (userfaultfd).  A write finds out, three times faster
 * than populating base pages again.  Huge pages are no trouble, clean pages of
 * storage need their filesystem, and DAX wears out.
 */
static gboolean can_touch_present(const HmPreallocFacts *facts,
                                  const HmPreallocPlan *plan)
{
    return facts->state == HM_STATE_WRITABLE && !plan->huge_size &&
           (facts->kind == HM_MEM_ANON || facts->kind == HM_MEM_SHMEM);
}

static gboolean check(const HmPreallocFacts *facts, GError **error)
{
    if (!facts->writable && facts->state != HM_STATE_READABLE) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "memory that is mapped read-only can be populated "
                            "readable, not backed or writable");
    }
    if (facts->kind == HM_MEM_DAX && facts->state == HM_STATE_WRITABLE &&
        !facts->caps.populate) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "populating DAX memory needs MADV_POPULATE_WRITE "
                            "(Linux 5.14): touching it would wear it out");
    }
    return TRUE;
}

/** "fallocate+populate-write", kept for good: there are few. */
static const char *method_of(const HmPreallocFacts *facts,
                             const HmPreallocPlan *plan)
{
    g_autoptr(GString) text =
        g_string_new(facts->own_tmpfs ? "huge-tmpfs" : NULL);

    for (guint i = 0; i < plan->n_whole + plan->n_chunk; i++) {
        HmPreallocStep step =
            i < plan->n_whole ? plan->whole[i] : plan->chunk[i - plan->n_whole];

        g_string_append_printf(text, "%s%s", text->len ? "+" : "",
                               hm_prealloc_step_name(step));
    }
    return g_intern_string(text->len ? text->str : "none");
}

gboolean hm_prealloc_plan(const HmPreallocFacts *facts, HmPreallocPlan *plan,
                          GError **error)
{
    if (!check(facts, error)) {
        return FALSE;
    }
    *plan = (HmPreallocPlan){0};
    if (facts->state == HM_STATE_BACKED) {
        plan_backed(facts, plan);
    } else if (facts->kind == HM_MEM_ANON && facts->writable) {
        plan_anon(facts, plan);
    } else if (!can_allocate(facts)) {
        plan_in_place(facts, plan);
    } else if (facts->kind == HM_MEM_SHMEM) {
        plan_shmem(facts, plan);
    } else {
        plan_file(facts, plan);
    }
    plan->touch_present = can_touch_present(facts, plan);
    plan->method = method_of(facts, plan);
    return TRUE;
}
