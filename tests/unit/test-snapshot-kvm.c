/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "snapshot-test.h"
#include "util/mmap.h"
#include "util/os.h"
#include "util/size.h"
#include "util/snapshot.h"

/*
 * A vCPU that writes to guest memory while a snapshot of it is taken, on the
 * real kernel.  It writes the number of its round to the first word of 128
 * pages, one after the other, for ever: so at any moment those that it has come
 * to are one ahead of the others.
 */

#define SIZE    HM_MIB
#define FIRST   0x10000
#define END     0x90000
#define PAGE    4096
#define N_PAGES ((END - FIRST) / PAGE)

static const guint8 code[] = {
    0x31, 0xdb,                   /* xor bx, bx */
    0x43,                         /* outer: inc bx */
    0xb8, 0x00, 0x10,             /* mov ax, FIRST / 16 */
    0x8e, 0xc0,                   /* inner: mov es, ax */
    0x26, 0x89, 0x1e, 0x00, 0x00, /* mov es:[0], bx */
    0x05, 0x00, 0x01,             /* add ax, PAGE / 16 */
    0x3d, 0x00, 0x90,             /* cmp ax, END / 16 */
    0x72, 0xf1,                   /* jb inner */
    0xeb, 0xeb,                   /* jmp outer */
};

typedef struct {
    HmBacking backing;
    HmMapping mapping;
    int kvm;
    int vm;
    int vcpu;
    struct kvm_run *run;
    gsize run_size;
    GThread *thread;
    gpointer id; /* atomic: its pthread_t; NULL: it does not run yet */
    gint stop;   /* atomic */
} Machine;

static void on_signal(int number G_GNUC_UNUSED)
{
}

static gpointer vcpu_main(gpointer data)
{
    Machine *self = data;

    g_atomic_pointer_set(&self->id, (gpointer)pthread_self());
    while (!g_atomic_int_get(&self->stop)) {
        g_assert_true(ioctl(self->vcpu, KVM_RUN, 0) == 0 || errno == EINTR);
    }
    return NULL;
}

static void map_memory(Machine *self, gboolean shared)
{
    const HmMappingOptions options = {.name = "test"};
    g_autoptr(GError) error = NULL;

    if (shared) {
        hm_backing_init_memfd(&self->backing, "test", SIZE, 0, TRUE, TRUE,
                              &error);
    } else {
        hm_backing_init_anon(&self->backing, SIZE, &error);
    }
    g_assert_no_error(error);
    hm_mapping_init(&self->mapping, &self->backing, &options, &error);
    g_assert_no_error(error);
    memcpy(self->mapping.addr, code, sizeof(code));
}

static void set_registers(Machine *self)
{
    struct kvm_regs regs = {.rflags = 2};
    struct kvm_sregs sregs;

    g_assert_cmpint(ioctl(self->vcpu, KVM_GET_SREGS, &sregs), ==, 0);
    sregs.cs.base = sregs.cs.selector = 0;
    g_assert_cmpint(ioctl(self->vcpu, KVM_SET_SREGS, &sregs), ==, 0);
    g_assert_cmpint(ioctl(self->vcpu, KVM_SET_REGS, &regs), ==, 0);
}

static gboolean make_vm(Machine *self)
{
    struct kvm_userspace_memory_region slot = {
        .memory_size = SIZE,
        .userspace_addr = (guintptr)self->mapping.addr,
    };

    self->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    self->vm = self->kvm < 0 ? -1 : ioctl(self->kvm, KVM_CREATE_VM, 0);
    if (self->vm < 0) {
        return FALSE;
    }
    g_assert_cmpint(ioctl(self->vm, KVM_SET_USER_MEMORY_REGION, &slot), ==, 0);
    self->vcpu = ioctl(self->vm, KVM_CREATE_VCPU, 0);
    g_assert_cmpint(self->vcpu, >=, 0);
    self->run_size = (gsize)ioctl(self->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    self->run = mmap(NULL, self->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                     self->vcpu, 0);
    g_assert_true(self->run != MAP_FAILED);
    set_registers(self);
    return TRUE;
}

/* Returns: FALSE, and the test is skipped, when there is no KVM */
static gboolean machine_start(Machine *self, gboolean shared)
{
    const struct sigaction action = {.sa_handler = on_signal};

    *self = (Machine){.backing = HM_BACKING_INIT, .kvm = -1, .vm = -1};
    map_memory(self, shared);
    if (!make_vm(self)) {
        g_test_skip("there is no KVM");
        return FALSE;
    }
    sigaction(SIGUSR1, &action, NULL);
    self->thread = g_thread_new("vcpu", vcpu_main, self);
    while (!g_atomic_pointer_get(&self->id)) {
        g_usleep(1000);
    }
    return TRUE;
}

static void machine_end(Machine *self)
{
    if (self->thread) {
        g_atomic_int_set(&self->stop, TRUE);
        self->run->immediate_exit = 1;
        pthread_kill((pthread_t)g_atomic_pointer_get(&self->id), SIGUSR1);
        g_thread_join(self->thread);
        munmap(self->run, self->run_size);
        close(self->vcpu);
    }
    if (self->vm >= 0) {
        close(self->vm);
    }
    if (self->kvm >= 0) {
        close(self->kvm);
    }
    hm_mapping_clear(&self->mapping);
    hm_backing_clear(&self->backing);
}

/* The round of a page; it has 16 bits, and comes to 0 again. */
static guint16 round_at(const guint8 *memory, guint page)
{
    guint16 value;

    memcpy(&value, memory + FIRST + page * PAGE, sizeof(value));
    return GUINT16_FROM_LE(value);
}

static void wait_for_rounds(Machine *self, guint n)
{
    for (guint i = 0; i < n; i++) {
        const guint16 now = round_at(self->mapping.addr, 0);

        while (round_at(self->mapping.addr, 0) == now) {
            g_usleep(100);
        }
    }
}

static void assert_moment(const guint8 *image)
{
    const guint16 first = round_at(image, 0);
    guint page = 0;

    while (page < N_PAGES && round_at(image, page) == first) {
        page++;
    }
    for (; page < N_PAGES; page++) {
        g_assert_cmpuint(round_at(image, page), ==, (guint16)(first - 1));
    }
}

static void check_image(const char *path)
{
    g_autofree guint8 *memory = g_malloc0(SIZE);
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImage) image = hm_image_open(path, SIZE, &error);

    g_assert_no_error(error);
    hm_image_load(image, memory, 1, NULL, NULL, &error);
    g_assert_no_error(error);
    assert_moment(memory);
}

static void take(Machine *self, const char *path)
{
    g_autoptr(HmRangeList) all = hm_range_list_new();
    g_autoptr(GError) error = NULL;
    const HmRange range = {0, SIZE};
    HmProgress progress;
    const HmSnapshotOptions options = {
        .backing = &self->backing,
        .addr = self->mapping.addr,
        .size = SIZE,
        .path = path,
        .threads = 1,
        .progress = &progress,
    };
    g_autoptr(HmSnapshot) snapshot = hm_snapshot_new(&options, &error);

    g_assert_no_error(error);
    hm_range_list_add(all, &range);
    hm_snapshot_arm(snapshot, all, &error);
    g_assert_no_error(error);
    hm_snapshot_run(snapshot, NULL, &error);
    g_assert_no_error(error);
}

static void check(gboolean shared)
{
    g_autofree char *folder = g_dir_make_tmp("hostmem-kvm-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "image", NULL);
    Machine machine;

    if (machine_start(&machine, shared)) {
        for (guint i = 0; i < 20; i++) {
            wait_for_rounds(&machine, 2);
            take(&machine, path);
            check_image(path);
            g_assert_cmpint(g_unlink(path), ==, 0);
        }
        wait_for_rounds(&machine, 2); /* it is not stuck */
    }
    machine_end(&machine);
    g_assert_cmpint(g_rmdir(folder), ==, 0);
}

static void test_vcpu(gconstpointer shared)
{
    const char *why = hm_test_no_write_protect();

    if (why) {
        g_test_skip(why);
        return;
    }
    check(shared != NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/snapshot-kvm/anon", NULL, test_vcpu);
    g_test_add_data_func("/snapshot-kvm/memfd", "shared", test_vcpu);
    return g_test_run();
}
