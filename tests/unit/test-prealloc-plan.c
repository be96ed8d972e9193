/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/error.h"
#include "util/prealloc-plan.h"
#include "util/size.h"

/* Facts that a row changes, and the method that must come out. */
typedef struct {
    const char *name;
    void (*change)(HmPreallocFacts *facts);
    const char *method;
    gsize huge_size;
} Row;

#define THP (2 * HM_MIB)

/* A new kernel, policies as distributions set them, two threads, writable. */
static HmPreallocFacts usual_facts(HmMemKind kind, gboolean shared)
{
    return (HmPreallocFacts){
        .kind = kind,
        .shared = shared,
        .writable = TRUE,
        .use_thp = TRUE,
        .state = HM_STATE_WRITABLE,
        .page_size = kind == HM_MEM_HUGETLB ? THP : 4096,
        .length = HM_GIB,
        .threads = 2,
        .caps = {.populate = TRUE,
                 .collapse = TRUE,
                 .page_size = 4096,
                 .thp_size = THP},
        .thp = HM_THP_MADVISE,
        .shmem_thp = HM_SHMEM_THP_NEVER,
    };
}

static void check_row(const Row *row, HmPreallocFacts facts)
{
    g_autoptr(GError) error = NULL;
    HmPreallocPlan plan;

    g_test_message("%s", row->name);
    if (row->change) {
        row->change(&facts);
    }
    hm_prealloc_plan(&facts, &plan, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(plan.method, ==, row->method);
    g_assert_cmpuint(plan.huge_size, ==, row->huge_size);
    g_assert_nonnull(plan.reason);
}

static void check_rows(const Row *rows, gsize n, HmMemKind kind,
                       gboolean shared)
{
    for (gsize i = 0; i < n; i++) {
        check_row(&rows[i], usual_facts(kind, shared));
    }
}

/* what rows change */

static void no_thp(HmPreallocFacts *facts)
{
    facts->use_thp = FALSE;
}

static void no_thp_kernel(HmPreallocFacts *facts)
{
    facts->caps.thp_size = 0;
}

static void no_populate(HmPreallocFacts *facts)
{
    facts->caps.populate = FALSE;
}

static void no_collapse(HmPreallocFacts *facts)
{
    facts->caps.collapse = FALSE;
}

static void shorter_than_huge(HmPreallocFacts *facts)
{
    facts->length = THP - 4096;
}

static void as_long_as_huge(HmPreallocFacts *facts)
{
    facts->length = THP;
}

static void thp_never(HmPreallocFacts *facts)
{
    facts->thp = HM_THP_NEVER;
}

static void thp_always(HmPreallocFacts *facts)
{
    facts->thp = HM_THP_ALWAYS;
}

static void readable(HmPreallocFacts *facts)
{
    facts->state = HM_STATE_READABLE;
}

static void readable_small(HmPreallocFacts *facts)
{
    readable(facts);
    no_thp(facts);
}

static void readable_no_populate(HmPreallocFacts *facts)
{
    readable(facts);
    no_populate(facts);
}

static void read_only(HmPreallocFacts *facts)
{
    readable(facts);
    facts->writable = FALSE;
}

static void read_only_no_populate(HmPreallocFacts *facts)
{
    read_only(facts);
    no_populate(facts);
}

static void backed(HmPreallocFacts *facts)
{
    facts->state = HM_STATE_BACKED;
}

static void backed_small(HmPreallocFacts *facts)
{
    backed(facts);
    no_thp(facts);
}

static void backed_short(HmPreallocFacts *facts)
{
    backed(facts);
    shorter_than_huge(facts);
}

static void backed_no_collapse(HmPreallocFacts *facts)
{
    backed(facts);
    no_collapse(facts);
}

static void backed_deny(HmPreallocFacts *facts)
{
    backed(facts);
    facts->shmem_thp = HM_SHMEM_THP_DENY;
}

static void backed_force(HmPreallocFacts *facts)
{
    backed(facts);
    facts->shmem_thp = HM_SHMEM_THP_FORCE;
}

static void own_tmpfs(HmPreallocFacts *facts)
{
    facts->own_tmpfs = TRUE;
}

static void own_tmpfs_backed(HmPreallocFacts *facts)
{
    own_tmpfs(facts);
    backed(facts);
}

static void own_tmpfs_no_populate(HmPreallocFacts *facts)
{
    own_tmpfs(facts);
    no_populate(facts);
}

static void own_tmpfs_short(HmPreallocFacts *facts)
{
    own_tmpfs(facts);
    shorter_than_huge(facts);
}

static void own_tmpfs_readable(HmPreallocFacts *facts)
{
    own_tmpfs(facts);
    readable(facts);
}

static void shmem_advise(HmPreallocFacts *facts)
{
    facts->shmem_thp = HM_SHMEM_THP_ADVISE;
}

static void shmem_advise_no_collapse(HmPreallocFacts *facts)
{
    shmem_advise(facts);
    no_collapse(facts);
}

static void shmem_within_size(HmPreallocFacts *facts)
{
    facts->shmem_thp = HM_SHMEM_THP_WITHIN_SIZE;
}

static void shmem_within_size_no_collapse(HmPreallocFacts *facts)
{
    shmem_within_size(facts);
    no_collapse(facts);
}

static void shmem_always(HmPreallocFacts *facts)
{
    facts->shmem_thp = HM_SHMEM_THP_ALWAYS;
}

static void shmem_always_no_collapse(HmPreallocFacts *facts)
{
    shmem_always(facts);
    no_collapse(facts);
}

static void shmem_always_no_populate(HmPreallocFacts *facts)
{
    shmem_always(facts);
    no_populate(facts);
}

static void shmem_deny(HmPreallocFacts *facts)
{
    facts->shmem_thp = HM_SHMEM_THP_DENY;
}

static void shmem_force(HmPreallocFacts *facts)
{
    facts->shmem_thp = HM_SHMEM_THP_FORCE;
}

static void one_thread_small(HmPreallocFacts *facts)
{
    no_thp(facts);
    facts->threads = 1;
}

/* the table */

static void test_private_anonymous(void)
{
    static const Row rows[] = {
        {"usual", NULL, "hugepage+populate-write", THP},
        {"always", thp_always, "hugepage+populate-write", THP},
        {"no populate", no_populate, "hugepage+touch-write", THP},
        {"no collapse", no_collapse, "hugepage+populate-write", THP},
        {"thp=off", no_thp, "populate-write", 0},
        {"no THP", no_thp_kernel, "populate-write", 0},
        {"policy never", thp_never, "populate-write", 0},
        {"short", shorter_than_huge, "populate-write", 0},
        {"just long enough", as_long_as_huge, "hugepage+populate-write", THP},
        {"readable", readable, "hugepage+populate-write", THP},
        {"readable, thp=off", readable_small, "populate-read", 0},
        {"backed", backed, "none", 0},
    };

    check_rows(rows, G_N_ELEMENTS(rows), HM_MEM_ANON, FALSE);
}

static void test_shared_memory(void)
{
    static const Row rows[] = {
        {"usual", NULL, "hugepage+seed+collapse+populate-write", THP},
        {"advise", shmem_advise, "hugepage+seed+collapse+populate-write", THP},
        {"within_size", shmem_within_size,
         "hugepage+seed+collapse+populate-write", THP},
        {"always", shmem_always, "hugepage+seed+collapse+populate-write", THP},
        {"force", shmem_force, "hugepage+populate-write", THP},
        {"deny", shmem_deny, "populate-write", 0},
        {"anonymous policy never", thp_never,
         "hugepage+seed+collapse+populate-write", THP},
        {"readable", readable, "hugepage+seed+collapse+populate-read", THP},
        {"backed", backed, "hugepage+seed+collapse+fallocate", THP},
        {"backed, thp=off", backed_small, "fallocate", 0},
        {"backed, deny", backed_deny, "fallocate", 0},
        {"backed, force", backed_force, "fallocate", 0},
        {"backed, short", backed_short, "fallocate", 0},
        {"thp=off", no_thp, "populate-write", 0},
        {"thp=off, one thread", one_thread_small, "fallocate+populate-write",
         0},
        {"no THP", no_thp_kernel, "populate-write", 0},
        {"short", shorter_than_huge, "populate-write", 0},
        {"read-only", read_only, "populate-read", 0},
    };

    check_rows(rows, G_N_ELEMENTS(rows), HM_MEM_SHMEM, TRUE);
}

static void test_shared_memory_on_old_kernels(void)
{
    static const Row rows[] = {
        {"no collapse", no_collapse, "populate-write", 0},
        {"no collapse, backed", backed_no_collapse, "fallocate", 0},
        {"no collapse, advise", shmem_advise_no_collapse,
         "hugepage+populate-write", THP},
        {"no collapse, within_size", shmem_within_size_no_collapse,
         "hugepage+populate-write", THP},
        {"no collapse, always", shmem_always_no_collapse,
         "hugepage+populate-write", THP},
        {"no populate", no_populate, "fallocate+touch-write", 0},
        {"no populate, always", shmem_always_no_populate,
         "fallocate+touch-write", THP},
        {"no populate, readable", readable_no_populate, "fallocate+touch-read",
         0},
        {"no populate, read-only", read_only_no_populate, "touch-read", 0},
    };

    check_rows(rows, G_N_ELEMENTS(rows), HM_MEM_SHMEM, TRUE);
}

static void test_own_tmpfs(void)
{
    static const Row rows[] = {
        {"usual", own_tmpfs, "huge-tmpfs+hugepage+populate-write", THP},
        {"short", own_tmpfs_short, "huge-tmpfs+fallocate+populate-write", THP},
        {"no populate", own_tmpfs_no_populate,
         "huge-tmpfs+fallocate+touch-write", THP},
        {"readable", own_tmpfs_readable, "huge-tmpfs+hugepage+populate-read",
         THP},
        {"backed", own_tmpfs_backed, "huge-tmpfs+fallocate", 0},
    };

    check_rows(rows, G_N_ELEMENTS(rows), HM_MEM_SHMEM, TRUE);
}

static void test_hugetlb(void)
{
    static const Row rows[] = {
        {"usual", NULL, "populate-write", 0},
        {"no populate", no_populate, "touch-write", 0},
        {"readable", readable, "populate-read", 0},
        {"read-only", read_only, "populate-read", 0},
        {"backed", backed, "none", 0},
    };

    check_rows(rows, G_N_ELEMENTS(rows), HM_MEM_HUGETLB, TRUE);
    check_rows(rows, G_N_ELEMENTS(rows), HM_MEM_HUGETLB, FALSE);
}

static void test_regular_file(void)
{
    static const Row rows[] = {
        {"usual", NULL, "fallocate+populate-write", 0},
        {"no populate", no_populate, "fallocate+touch-write", 0},
        {"readable", readable, "fallocate+populate-read", 0},
        {"backed", backed, "fallocate", 0},
        {"read-only", read_only, "populate-read", 0},
    };

    check_rows(rows, G_N_ELEMENTS(rows), HM_MEM_FILE, TRUE);
}

static void test_dax(void)
{
    static const Row rows[] = {
        {"usual", NULL, "fallocate+populate-write", 0},
        {"readable", readable, "fallocate+populate-read", 0},
        {"no populate, readable", readable_no_populate, "fallocate+touch-read",
         0},
        {"backed", backed, "fallocate", 0},
    };

    check_rows(rows, G_N_ELEMENTS(rows), HM_MEM_DAX, TRUE);
}

static void test_private_file_is_left_alone(void)
{
    static const Row rows[] = {
        {"usual", NULL, "populate-write", 0},
        {"no populate", no_populate, "touch-write", 0},
        {"always", shmem_always, "populate-write", 0},
        {"readable", readable, "populate-read", 0},
        {"read-only", read_only, "populate-read", 0},
        {"backed", backed, "none", 0},
    };

    check_rows(rows, G_N_ELEMENTS(rows), HM_MEM_SHMEM, FALSE);
    check_rows(rows, G_N_ELEMENTS(rows), HM_MEM_FILE, FALSE);
}

/* where steps go */

static void test_cheap_fallocate_comes_before_all(void)
{
    HmPreallocFacts facts = usual_facts(HM_MEM_FILE, TRUE);
    HmPreallocPlan plan;

    g_assert_true(hm_prealloc_plan(&facts, &plan, NULL));
    g_assert_cmpuint(plan.n_whole, ==, 1);
    g_assert_cmpint(plan.whole[0], ==, HM_STEP_ALLOCATE);
    g_assert_cmpuint(plan.n_chunk, ==, 1);
    g_assert_cmpint(plan.chunk[0], ==, HM_STEP_POPULATE_WRITE);
}

/* Whole, it would be a long time without progress. */
static void test_slow_fallocate_goes_with_each_chunk(void)
{
    HmPreallocFacts facts = usual_facts(HM_MEM_SHMEM, TRUE);
    HmPreallocPlan plan;

    one_thread_small(&facts);
    g_assert_true(hm_prealloc_plan(&facts, &plan, NULL));
    g_assert_cmpuint(plan.n_whole, ==, 0);
    g_assert_cmpuint(plan.n_chunk, ==, 2);
    g_assert_cmpint(plan.chunk[0], ==, HM_STEP_ALLOCATE);
    g_assert_cmpint(plan.chunk[1], ==, HM_STEP_POPULATE_WRITE);
}

static void test_collapse_goes_with_each_chunk(void)
{
    HmPreallocFacts facts = usual_facts(HM_MEM_SHMEM, TRUE);
    HmPreallocPlan plan;

    g_assert_true(hm_prealloc_plan(&facts, &plan, NULL));
    g_assert_cmpuint(plan.n_whole, ==, 1);
    g_assert_cmpint(plan.whole[0], ==, HM_STEP_ADVISE_HUGE);
    g_assert_cmpuint(plan.n_chunk, ==, 3);
    g_assert_cmpint(plan.chunk[0], ==, HM_STEP_SEED_HUGE);
    g_assert_cmpint(plan.chunk[1], ==, HM_STEP_COLLAPSE);
    g_assert_cmpint(plan.chunk[2], ==, HM_STEP_POPULATE_WRITE);
}

/* errors */

static void assert_refused(const HmPreallocFacts *facts, HostmemError code)
{
    g_autoptr(GError) error = NULL;
    HmPreallocPlan plan;

    g_assert_false(hm_prealloc_plan(facts, &plan, &error));
    g_assert_error(error, HOSTMEM_ERROR, (gint)code);
}

static void test_read_only_cannot_be_writable(void)
{
    HmPreallocFacts facts = usual_facts(HM_MEM_FILE, TRUE);

    facts.writable = FALSE;
    assert_refused(&facts, HOSTMEM_ERROR_INVALID);
    facts.state = HM_STATE_BACKED;
    assert_refused(&facts, HOSTMEM_ERROR_INVALID);
}

static void test_dax_is_never_touched_to_write(void)
{
    HmPreallocFacts facts = usual_facts(HM_MEM_DAX, TRUE);

    no_populate(&facts);
    assert_refused(&facts, HOSTMEM_ERROR_UNSUPPORTED);
}

static void assert_touches_present(HmMemKind kind,
                                   void (*change)(HmPreallocFacts *facts),
                                   gboolean expected)
{
    HmPreallocFacts facts = usual_facts(kind, kind != HM_MEM_ANON);
    HmPreallocPlan plan;

    change(&facts);
    g_assert_true(hm_prealloc_plan(&facts, &plan, NULL));
    g_assert_cmpint(plan.touch_present, ==, expected);
}

static void nothing(HmPreallocFacts *facts G_GNUC_UNUSED)
{
}

static void test_present_base_pages_are_touched(void)
{
    assert_touches_present(HM_MEM_ANON, no_thp, TRUE);
    assert_touches_present(HM_MEM_SHMEM, no_thp, TRUE);
}

static void test_others_are_populated_again(void)
{
    assert_touches_present(HM_MEM_ANON, nothing, FALSE);
    assert_touches_present(HM_MEM_SHMEM, nothing, FALSE);
    assert_touches_present(HM_MEM_SHMEM, own_tmpfs, FALSE);
    assert_touches_present(HM_MEM_SHMEM, readable, FALSE);
    assert_touches_present(HM_MEM_HUGETLB, nothing, FALSE);
    assert_touches_present(HM_MEM_FILE, nothing, FALSE);
    assert_touches_present(HM_MEM_DAX, nothing, FALSE);
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_func(path, test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/prealloc-plan/private-anonymous", test_private_anonymous);
    add("/prealloc-plan/shared-memory", test_shared_memory);
    add("/prealloc-plan/shared-memory-on-old-kernels",
        test_shared_memory_on_old_kernels);
    add("/prealloc-plan/own-tmpfs", test_own_tmpfs);
    add("/prealloc-plan/hugetlb", test_hugetlb);
    add("/prealloc-plan/regular-file", test_regular_file);
    add("/prealloc-plan/dax", test_dax);
    add("/prealloc-plan/private-file-is-left-alone",
        test_private_file_is_left_alone);
    add("/prealloc-plan/cheap-fallocate-comes-before-all",
        test_cheap_fallocate_comes_before_all);
    add("/prealloc-plan/slow-fallocate-goes-with-each-chunk",
        test_slow_fallocate_goes_with_each_chunk);
    add("/prealloc-plan/collapse-goes-with-each-chunk",
        test_collapse_goes_with_each_chunk);
    add("/prealloc-plan/read-only-cannot-be-writable",
        test_read_only_cannot_be_writable);
    add("/prealloc-plan/dax-is-never-touched-to-write",
        test_dax_is_never_touched_to_write);
    add("/prealloc-plan/present-base-pages-are-touched",
        test_present_base_pages_are_touched);
    add("/prealloc-plan/others-are-populated-again",
        test_others_are_populated_again);
    return g_test_run();
}
