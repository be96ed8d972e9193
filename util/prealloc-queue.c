/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/prealloc-queue.h"

/*
 * Theory of operation
 *
 * Regions that are populated at the same time have as many workers each as if
 * they were alone, but no more of them run than there are CPUs.  Whoever is
 * ahead in line never waits for who is behind: the CPUs of a place are counted
 * among those of the places ahead of it.  So the first region gets all it can
 * use, the next one what is left, and as the first comes to its end, the CPUs
 * go over to the next, one by one; when somebody comes who goes first, there
 * are too many for the rest of a chunk.
 *
 * The first place in line has no limit, because who asks for more workers than
 * there are CPUs gets them.
 *
 * A CPU is a number to count with: who is bound to the CPUs of a node cannot
 * use those of another.  Where threads run is up to the kernel.  Of the free
 * CPUs the one is taken that the fewest places can use, to leave the others to
 * those who are bound.
 *
 * CPUs are handed to a place, and one waiting worker of it is woken.
 */
struct HmQueue {
    gatomicrefcount refs;
    GMutex lock;   /* guards what follows, and all places */
    GList *places; /* in line */
};

struct HmQueuePlace {
    HmQueue *queue; /* owned */
    guint rank;
    HmIdset *cpus;
    guint quota;
    HmIdset *held; /* CPUs that are in use, or on their way */
    guint beyond;  /* workers that have none */
    guint waiting;
    guint granted; /* CPUs that no worker has picked up */
    gboolean closed;
    GCond moved;
};

HmQueue *hm_queue_new(void)
{
    HmQueue *self = g_new0(HmQueue, 1);

    g_atomic_ref_count_init(&self->refs);
    g_mutex_init(&self->lock);
    return self;
}

HmQueue *hm_queue_ref(HmQueue *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

void hm_queue_unref(HmQueue *self)
{
    if (g_atomic_ref_count_dec(&self->refs)) {
        g_mutex_clear(&self->lock);
        g_free(self);
    }
}

/* Under the lock, as all of these. */
static guint running(const HmQueuePlace *place)
{
    return hm_idset_count(place->held) + place->beyond;
}

static guint count_users(const HmQueue *self, guint cpu)
{
    guint n = 0;

    for (GList *l = self->places; l; l = l->next) {
        const HmQueuePlace *place = l->data;

        n += !place->closed && hm_idset_contains(place->cpus, cpu);
    }
    return n;
}

/** A CPU of @place that is not @busy; FALSE when there is none. */
static gboolean find_cpu(const HmQueue *self, const HmQueuePlace *place,
                         const HmIdset *busy, guint *found)
{
    guint least = G_MAXUINT;

    HM_IDSET_FOREACH (place->cpus, cpu) {
        guint users;

        if (hm_idset_contains(busy, cpu)) {
            continue;
        }
        users = count_users(self, cpu);
        if (users < least) {
            least = users;
            *found = cpu;
        }
    }
    return least < G_MAXUINT;
}

static void grant(HmQueuePlace *place)
{
    place->waiting--;
    place->granted++;
    g_cond_signal(&place->moved);
}

/** @busy and @n_busy: what places ahead use; @place's are added. */
static void serve(const HmQueue *self, HmQueuePlace *place, HmIdset *busy,
                  guint *n_busy, gboolean first)
{
    guint cpu;

    hm_idset_union(busy, place->held);
    *n_busy += running(place);
    while (place->waiting && !place->closed) {
        if (*n_busy < place->quota && find_cpu(self, place, busy, &cpu)) {
            hm_idset_add(place->held, cpu);
            hm_idset_add(busy, cpu);
        } else if (first) {
            place->beyond++;
        } else {
            return;
        }
        (*n_busy)++;
        grant(place);
    }
}

static void hand_out(HmQueue *self)
{
    g_autoptr(HmIdset) busy = hm_idset_new();
    guint n_busy = 0;

    for (GList *l = self->places; l; l = l->next) {
        serve(self, l->data, busy, &n_busy, !n_busy);
    }
}

static int compare_rank(gconstpointer a, gconstpointer b)
{
    const HmQueuePlace *x = a;
    const HmQueuePlace *y = b;

    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

HmQueuePlace *hm_queue_join(HmQueue *self, guint rank, const HmIdset *cpus,
                            guint quota)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    HmQueuePlace *place = g_new0(HmQueuePlace, 1);
    GList *behind = self->places;

    place->queue = hm_queue_ref(self);
    place->rank = rank;
    place->cpus = hm_idset_copy(cpus);
    place->quota = quota;
    place->held = hm_idset_new();
    g_cond_init(&place->moved);
    while (behind && compare_rank(behind->data, place) <= 0) {
        behind = behind->next;
    }
    self->places = g_list_insert_before(self->places, behind, place);
    return place;
}

void hm_queue_leave(HmQueuePlace *place)
{
    HmQueue *queue = place->queue;

    g_mutex_lock(&queue->lock);
    queue->places = g_list_remove(queue->places, place);
    hand_out(queue);
    g_mutex_unlock(&queue->lock);
    hm_idset_free(place->cpus);
    hm_idset_free(place->held);
    g_cond_clear(&place->moved);
    g_free(place);
    hm_queue_unref(queue);
}

/** Wait until granted; FALSE when nothing will be. */
static gboolean wait_for_grant(HmQueuePlace *place, gint64 deadline)
{
    gboolean in_time = TRUE;

    while (!place->granted && !place->closed && in_time) {
        if (deadline) {
            in_time =
                g_cond_wait_until(&place->moved, &place->queue->lock, deadline);
        } else {
            g_cond_wait(&place->moved, &place->queue->lock);
        }
    }
    return place->granted;
}

static void give_up_cpu(HmQueuePlace *place)
{
    guint cpu;

    if (place->beyond) {
        place->beyond--;
    } else if (hm_idset_next(place->held, 0, &cpu)) {
        hm_idset_remove(place->held, cpu);
    }
}

static gboolean wait_in_line(HmQueuePlace *place, gint64 deadline)
{
    if (place->closed) {
        hand_out(place->queue);
        return FALSE;
    }
    place->waiting++;
    hand_out(place->queue);
    if (wait_for_grant(place, deadline)) {
        place->granted--;
        return TRUE;
    }
    place->waiting--;
    return FALSE;
}

gboolean hm_queue_enter(HmQueuePlace *place, gint64 deadline)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&place->queue->lock);

    return wait_in_line(place, deadline);
}

gboolean hm_queue_yield(HmQueuePlace *place, gint64 deadline)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&place->queue->lock);

    give_up_cpu(place);
    return wait_in_line(place, deadline);
}

void hm_queue_exit(HmQueuePlace *place)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&place->queue->lock);

    give_up_cpu(place);
    hand_out(place->queue);
}

void hm_queue_close(HmQueuePlace *place)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&place->queue->lock);

    place->closed = TRUE;
    g_cond_broadcast(&place->moved);
    hand_out(place->queue);
}
