/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <hostmem/backend.h>
#include <hostmem/registry.h>
#include "smaps-test.h"
#include "util/linux-compat.h"
#include "util/os.h"
#include "util/size.h"

/*
 * What is promised of memory that grows, in its place and to another one, on
 * the real kernel, as the kernel itself accounts for it.
 */

#define SIZE HM_MIB
#define HALF (SIZE / 2)
#define MORE (2 * SIZE)

static HostmemRegistry *registry;

/* (nullable) (transfer none): NULL, and the test is skipped, where the host
 * does not let us. */
static HostmemBackend *make(const char *options, const char *more)
{
    g_autofree char *all = g_strconcat(options, ",id=m0", more, NULL);
    g_autoptr(GError) error = NULL;
    HostmemObject *object = hostmem_registry_add(registry, all, NULL, &error);

    if (g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT)) {
        g_test_skip(error->message);
        return NULL;
    }
    g_assert_no_error(error);
    return HOSTMEM_BACKEND(object);
}

static void drop(void)
{
    g_autoptr(GError) error = NULL;

    hostmem_registry_remove(registry, "m0", &error);
    g_assert_no_error(error);
}

static void resize(HostmemBackend *backend, guint64 size)
{
    g_autoptr(GError) error = NULL;

    hostmem_backend_resize(backend, size, HOSTMEM_RESIZE_MAY_MOVE, NULL,
                           &error);
    g_assert_no_error(error);
}

static guint8 *memory_of(HostmemBackend *backend)
{
    return hostmem_backend_get_host_addr(backend);
}

static void touch(HostmemBackend *backend, guint64 offset, guint64 length)
{
    memset(memory_of(backend) + offset, 'x', length);
}

/* All of it is locked on fault, and so much is there. */
static void assert_locked(HostmemBackend *backend, guint64 bytes)
{
    const guint64 size = hostmem_backend_get_size(backend);
    HmTestSmaps sums;

    hm_test_read_smaps(memory_of(backend), size, &sums);
    g_assert_cmpuint(sums.size, ==, size);
    g_assert_cmpuint(sums.locks, ==, sums.mappings);
    g_assert_cmpuint(sums.locks_on_fault, ==, sums.mappings);
    g_assert_cmpuint(sums.resident, ==, bytes);
    g_assert_cmpuint(sums.locked, ==, bytes);
}

/* Kinds of memory: without and with room */

#define RAM   "memory-backend-ram,size=1M"
#define MEMFD "memory-backend-memfd,size=1M,thp=off"
#define SHM   "memory-backend-shm,size=1M,thp=off"
#define ROOM  ",max-size=2M"

static const char *const kinds[] = {
    RAM,
    RAM ",thp=off",
    RAM ",share=on,thp=off",
    MEMFD ",seal=off",
    SHM,
    RAM ROOM,
    RAM ",share=on,thp=off" ROOM,
    MEMFD ROOM,
    MEMFD ",seal=off" ROOM,
    SHM ROOM,
};

/* What whoever asked for locking on fault asked mremap(2) for: nothing is
 * faulted in because of it, and what comes later is locked. */
static void test_lock_on_fault_is_kept(gconstpointer options)
{
    HostmemBackend *backend = make(options, ",mem-lock=on-fault");
    guint8 *addr;

    if (!backend) {
        return;
    }
    addr = memory_of(backend);
    touch(backend, 0, HALF);
    assert_locked(backend, HALF);
    resize(backend, MORE);
    g_assert_cmpint(memory_of(backend) == addr, ==,
                    strstr(options, ROOM) != NULL);
    assert_locked(backend, HALF);
    g_assert_cmpuint(memory_of(backend)[HALF - 1], ==, 'x');
    touch(backend, SIZE, HALF);
    assert_locked(backend, SIZE);
    drop();
}

static void test_locked_memory_is_all_there(gconstpointer options)
{
    HostmemBackend *backend = make(options, ",mem-lock=on");

    if (!backend) {
        return;
    }
    assert_locked(backend, SIZE);
    resize(backend, MORE);
    assert_locked(backend, MORE);
    resize(backend, HALF);
    assert_locked(backend, HALF);
    drop();
}

/* Properties */

/* Bytes of mappings in the range whose VmFlags have this one. */
static guint64 bytes_with_flag(HostmemBackend *backend, const char *flag)
{
    const guint64 first = (guintptr)memory_of(backend);
    const guint64 last = first + hostmem_backend_get_size(backend);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned long long from, to; /* "AnonHugePages" begins with a number, too */
    guint64 start = 0;
    guint64 end = 0;
    guint64 sum = 0;

    g_assert_true(g_file_get_contents("/proc/self/smaps", &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (sscanf(*line, "%llx-%llx %*4s ", &from, &to) == 2) {
            start = from;
            end = to;
        } else if (start >= first && end <= last &&
                   g_str_has_prefix(*line, "VmFlags:") && strstr(*line, flag)) {
            sum += end - start;
        }
    }
    return sum;
}

static int policy_at(const void *addr)
{
    int mode = -1;

    if (syscall(SYS_get_mempolicy, &mode, NULL, 0, addr, 2 /* of ADDR */) < 0) {
        return -1;
    }
    return mode;
}

static void test_properties_are_kept(gconstpointer options)
{
    HostmemBackend *backend =
        make(options, ",thp=off,dump=off,host-nodes=0,policy=bind");

    touch(backend, 0, HALF);
    resize(backend, MORE);
    g_assert_cmpuint(bytes_with_flag(backend, " dd"), ==, MORE);
    g_assert_cmpuint(bytes_with_flag(backend, " dc"), ==, MORE);
    if (policy_at(memory_of(backend)) >= 0) {
        g_assert_cmpint(policy_at(memory_of(backend)), ==, MPOL_BIND);
        g_assert_cmpint(policy_at(memory_of(backend) + SIZE), ==, MPOL_BIND);
    }
    drop();
}

/* Again and again, it stays one mapping, and so can move. */
static void test_it_moves_many_times(void)
{
    HostmemBackend *backend = make(RAM, "");
    HmTestSmaps sums;

    touch(backend, 0, SIZE);
    for (guint i = 2; i < 10; i++) {
        resize(backend, i * SIZE);
        touch(backend, (i - 1) * SIZE, SIZE);
    }
    hm_test_read_smaps(memory_of(backend), 9 * SIZE, &sums);
    g_assert_cmpuint(sums.mappings, ==, 1);
    for (guint64 at = 0; at < 9 * SIZE; at += 512) {
        g_assert_cmpuint(memory_of(backend)[at], ==, 'x');
    }
    drop();
}

/* Parts with properties of their own */

#define QUARTER (SIZE / 4)

/* Returns: whether this kernel has policies */
static gboolean prefer_first_node(void *addr, gsize length)
{
    unsigned long nodes = 1;

    return syscall(SYS_mbind, addr, length, MPOL_PREFERRED, &nodes,
                   8 * sizeof(nodes), 0) == 0;
}

static void assert_parts(HostmemBackend *backend, guint64 resident,
                         gboolean bound)
{
    const guint64 size = hostmem_backend_get_size(backend);
    guint8 *addr = memory_of(backend);
    HmTestSmaps sums;

    hm_test_read_smaps(addr, size, &sums);
    g_assert_cmpuint(sums.size, ==, size);
    g_assert_cmpuint(sums.resident, ==, resident);
    g_assert_cmpuint(sums.locked, ==, resident - QUARTER);
    g_assert_cmpuint(bytes_with_flag(backend, " lo"), ==, size - QUARTER);
    g_assert_cmpuint(bytes_with_flag(backend, " lf"), ==, size - QUARTER);
    for (guint64 at = 0; at < SIZE; at += 512) {
        g_assert_cmpuint(addr[at], ==, 'x');
    }
    if (bound) {
        g_assert_cmpint(policy_at(addr), ==, MPOL_DEFAULT);
        g_assert_cmpint(policy_at(addr + SIZE - 1), ==, MPOL_PREFERRED);
    }
}

/* A quarter is not locked, a half has another policy; and what is new has the
 * properties of the backend. */
static void test_parts_keep_their_own(gconstpointer options)
{
    HostmemBackend *backend = make(options, ",mem-lock=on-fault");
    gboolean bound;

    if (!backend) {
        return;
    }
    touch(backend, 0, SIZE);
    g_assert_cmpint(hm_os_munlock(memory_of(backend) + QUARTER, QUARTER), ==,
                    0);
    bound = prefer_first_node(memory_of(backend) + HALF, HALF);
    for (guint i = 2; i < 5; i++) {
        guint8 *addr = memory_of(backend);

        resize(backend, i * SIZE);
        g_assert_true(memory_of(backend) != addr);
        assert_parts(backend, SIZE, bound);
    }
    touch(backend, SIZE, SIZE);
    assert_parts(backend, 2 * SIZE, bound);
    drop();
}

/* What is given up is free at once. */
static void test_shrinking_frees_memory(gconstpointer options)
{
    HostmemBackend *backend = make(options, "");
    HmTestSmaps sums;

    resize(backend, MORE);
    touch(backend, 0, MORE);
    resize(backend, HALF);
    hm_test_read_smaps(memory_of(backend), MORE, &sums);
    g_assert_cmpuint(sums.resident, ==, HALF);
    g_assert_cmpuint(hostmem_backend_get_backed_size(backend), ==, HALF);
    drop();
}

static void add(const char *name, const char *options, GTestDataFunc func)
{
    g_autofree char *path =
        g_strdup_printf("/hostmem-resize-claims/%s/%s", name, options);

    g_test_add_data_func(path, options, func);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        add("lock-on-fault", kinds[i], test_lock_on_fault_is_kept);
        add("locked", kinds[i], test_locked_memory_is_all_there);
        add("shrinking", kinds[i], test_shrinking_frees_memory);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (!strstr(kinds[i], ROOM)) {
            add("parts", kinds[i], test_parts_keep_their_own);
        }
    }
    add("properties", RAM, test_properties_are_kept);
    add("properties", RAM ",share=on", test_properties_are_kept);
    add("properties", RAM ROOM, test_properties_are_kept);
    add("properties", MEMFD ROOM, test_properties_are_kept);
    g_test_add_func("/hostmem-resize-claims/many-times",
                    test_it_moves_many_times);
    registry = hostmem_registry_new();
    ret = g_test_run();
    g_object_unref(registry);
    return ret;
}
