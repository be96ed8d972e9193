/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os-fake.h"
#include "util/os.h"
#include "util/prealloc-queue.h"

#define ALL G_MAXUINT

/* A place in a queue, and what its workers do. */
typedef struct {
    HmQueuePlace *place;
    GMutex lock;
    GCond moved;
    guint inside;
    guint sent_home;
    guint to_leave; /* workers that may exit */
    GPtrArray *workers;
} Crowd;

static void join(Crowd *crowd, HmQueue *queue, guint rank, const char *cpus,
                 guint quota)
{
    g_autoptr(HmIdset) set = hm_idset_parse(cpus, NULL);

    *crowd = (Crowd){.workers = g_ptr_array_new()};
    g_mutex_init(&crowd->lock);
    g_cond_init(&crowd->moved);
    crowd->place = hm_queue_join(queue, rank, set, quota);
}

static gpointer worker_main(gpointer data)
{
    Crowd *crowd = data;
    gboolean in = hm_queue_enter(crowd->place, 0);

    g_mutex_lock(&crowd->lock);
    if (in) {
        crowd->inside++;
    } else {
        crowd->sent_home++;
    }
    g_cond_broadcast(&crowd->moved);
    while (in && !crowd->to_leave) {
        g_cond_wait(&crowd->moved, &crowd->lock);
    }
    if (in) {
        crowd->to_leave--;
        crowd->inside--;
    }
    g_mutex_unlock(&crowd->lock);
    if (in) {
        hm_queue_exit(crowd->place);
    }
    return NULL;
}

static void send(Crowd *crowd, guint n)
{
    for (guint i = 0; i < n; i++) {
        g_ptr_array_add(crowd->workers,
                        g_thread_new("worker", worker_main, crowd));
    }
}

/* So many get in, and no more within a while. */
static void assert_inside(Crowd *crowd, guint n)
{
    g_mutex_lock(&crowd->lock);
    while (crowd->inside < n) {
        g_cond_wait(&crowd->moved, &crowd->lock);
    }
    g_mutex_unlock(&crowd->lock);
    g_usleep(5000);
    g_mutex_lock(&crowd->lock);
    g_assert_cmpuint(crowd->inside, ==, n);
    g_mutex_unlock(&crowd->lock);
}

static void let_out(Crowd *crowd, guint n)
{
    g_mutex_lock(&crowd->lock);
    crowd->to_leave += n;
    g_cond_broadcast(&crowd->moved);
    g_mutex_unlock(&crowd->lock);
}

static void leave(Crowd *crowd)
{
    hm_queue_close(crowd->place);
    let_out(crowd, crowd->workers->len);
    for (guint i = 0; i < crowd->workers->len; i++) {
        g_thread_join(g_ptr_array_index(crowd->workers, i));
    }
    g_ptr_array_unref(crowd->workers);
    hm_queue_leave(crowd->place);
    g_cond_clear(&crowd->moved);
    g_mutex_clear(&crowd->lock);
}

/* Who is first */

static void test_who_is_alone_has_no_limit(void)
{
    HmQueue *queue = hm_queue_new();
    Crowd only;

    join(&only, queue, 0, "0-1", ALL);
    send(&only, 5);
    assert_inside(&only, 5);
    leave(&only);
    hm_queue_unref(queue);
}

static void test_the_second_gets_what_is_left(void)
{
    HmQueue *queue = hm_queue_new();
    Crowd first, second;

    join(&first, queue, 0, "0-3", ALL);
    join(&second, queue, 0, "0-3", ALL);
    send(&first, 3);
    assert_inside(&first, 3);
    send(&second, 4);
    assert_inside(&second, 1);
    let_out(&first, 2);
    assert_inside(&second, 3);
    leave(&first);
    assert_inside(&second, 4);
    leave(&second);
    hm_queue_unref(queue);
}

static void test_who_is_ahead_does_not_wait(void)
{
    HmQueue *queue = hm_queue_new();
    Crowd behind, ahead;

    join(&behind, queue, 1, "0-1", ALL);
    send(&behind, 3);
    assert_inside(&behind, 3);
    join(&ahead, queue, 0, "0-1", ALL);
    send(&ahead, 2);
    assert_inside(&ahead, 2);
    send(&behind, 1);
    let_out(&behind, 2);
    assert_inside(&behind, 1);
    leave(&ahead);
    assert_inside(&behind, 2);
    leave(&behind);
    hm_queue_unref(queue);
}

static void test_between_two_chunks_the_cpu_stays(void)
{
    HmQueue *queue = hm_queue_new();
    Crowd first, second;

    join(&first, queue, 0, "0", ALL);
    join(&second, queue, 0, "0", ALL);
    g_assert_true(hm_queue_enter(first.place, 0));
    send(&second, 1);
    assert_inside(&second, 0);
    g_assert_true(hm_queue_yield(first.place, 0));
    assert_inside(&second, 0);
    hm_queue_exit(first.place);
    assert_inside(&second, 1);
    leave(&first);
    leave(&second);
    hm_queue_unref(queue);
}

/* Which CPUs */

static void test_nodes_do_not_wait_for_each_other(void)
{
    HmQueue *queue = hm_queue_new();
    Crowd node0, other0, node1;

    join(&node0, queue, 0, "0-1", ALL);
    join(&other0, queue, 0, "0-1", ALL);
    join(&node1, queue, 0, "2-3", ALL);
    send(&node0, 2);
    assert_inside(&node0, 2);
    send(&other0, 2);
    send(&node1, 2);
    assert_inside(&node1, 2);
    assert_inside(&other0, 0);
    leave(&node0);
    assert_inside(&other0, 2);
    leave(&other0);
    leave(&node1);
    hm_queue_unref(queue);
}

static void test_who_is_bound_to_nothing_leaves_room(void)
{
    HmQueue *queue = hm_queue_new();
    Crowd anywhere, bound;

    join(&anywhere, queue, 0, "0-3", ALL);
    join(&bound, queue, 0, "0-1", ALL);
    send(&anywhere, 2);
    assert_inside(&anywhere, 2);
    send(&bound, 2);
    assert_inside(&bound, 2);
    leave(&anywhere);
    leave(&bound);
    hm_queue_unref(queue);
}

static void test_quota_is_for_all(void)
{
    HmQueue *queue = hm_queue_new();
    Crowd first, second;

    join(&first, queue, 0, "0-1", 3);
    join(&second, queue, 0, "2-7", 3);
    send(&first, 2);
    assert_inside(&first, 2);
    send(&second, 6);
    assert_inside(&second, 1);
    leave(&first);
    leave(&second);
    hm_queue_unref(queue);
}

/* Not waiting */

static void test_closing_sends_home(void)
{
    HmQueue *queue = hm_queue_new();
    Crowd first, second;

    join(&first, queue, 0, "0", ALL);
    join(&second, queue, 0, "0", ALL);
    send(&first, 1);
    assert_inside(&first, 1);
    send(&second, 2);
    assert_inside(&second, 0);
    hm_queue_close(second.place);
    g_mutex_lock(&second.lock);
    while (second.sent_home < 2) {
        g_cond_wait(&second.moved, &second.lock);
    }
    g_mutex_unlock(&second.lock);
    g_assert_false(hm_queue_enter(second.place, 0));
    leave(&second);
    leave(&first);
    hm_queue_unref(queue);
}

static void test_deadline_of_who_waits(void)
{
    HmQueue *queue = hm_queue_new();
    Crowd first, second;

    join(&first, queue, 0, "0", ALL);
    join(&second, queue, 0, "0", ALL);
    g_assert_true(hm_queue_enter(first.place, hm_os_now() + 1));
    g_assert_false(hm_queue_enter(second.place, hm_os_now() + 1000));
    hm_queue_exit(first.place);
    g_assert_true(hm_queue_enter(second.place, hm_os_now() + 1000));
    hm_queue_exit(second.place);
    leave(&first);
    leave(&second);
    hm_queue_unref(queue);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/prealloc-queue/who-is-alone-has-no-limit",
                    test_who_is_alone_has_no_limit);
    g_test_add_func("/prealloc-queue/the-second-gets-what-is-left",
                    test_the_second_gets_what_is_left);
    g_test_add_func("/prealloc-queue/who-is-ahead-does-not-wait",
                    test_who_is_ahead_does_not_wait);
    g_test_add_func("/prealloc-queue/between-two-chunks-the-cpu-stays",
                    test_between_two_chunks_the_cpu_stays);
    g_test_add_func("/prealloc-queue/nodes-do-not-wait-for-each-other",
                    test_nodes_do_not_wait_for_each_other);
    g_test_add_func("/prealloc-queue/who-is-bound-to-nothing-leaves-room",
                    test_who_is_bound_to_nothing_leaves_room);
    g_test_add_func("/prealloc-queue/quota-is-for-all", test_quota_is_for_all);
    g_test_add_func("/prealloc-queue/closing-sends-home",
                    test_closing_sends_home);
    g_test_add_func("/prealloc-queue/deadline-of-who-waits",
                    test_deadline_of_who_waits);
    return g_test_run();
}
