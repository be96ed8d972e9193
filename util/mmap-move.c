/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Memory that has no room where it is moves.  A new place is reserved, and
 * mremap(2) takes the pages there, and with them all that holds of the mapping:
 * policy, advice, locks.  Of one mapping that is one call, which makes it
 * longer as well, so that what holds of it holds for the new part.
 *
 * Where parts were given properties of their own, memory is several mappings.
 * They are taken one by one, and what is new is mapped behind them.  So are
 * huge pages of a pool, which mremap(2) makes no longer; before Linux 5.17 it
 * does not even take them, and those that are shared are mapped once more.
 *
 * What can fail for want of something comes first: the new part is there before
 * the first piece moves.  The place that a piece has left is reserved at once,
 * to be able to go back.  Another thread that maps something there in between
 * is very fast, but possible.
 */
#include <errno.h>
#include "util/error.h"
#include "util/memlock.h"
#include "util/mmap-private.h"
#include "util/os.h"

#define MAPS "/proc/self/maps"

/* The mappings of a range */

/* One of them, as far as it lies in the range. */
typedef struct {
    gsize offset; /* bytes, from its start */
    gsize length;
    gboolean kept; /* the place that it has left is reserved */
} Piece;

/* A line "7f00-7f80 rw-p ..."; FALSE: it is another one. */
static gboolean read_line(const char *line, guint64 *start, guint64 *end)
{
    char *after;

    *start = g_ascii_strtoull(line, &after, 16);
    if (*after != '-') {
        return FALSE;
    }
    *end = g_ascii_strtoull(after + 1, &after, 16);
    return *after == ' ' && *start < *end;
}

/* Those of a text that is as /proc/self/maps; returns how many bytes they
 * have. */
static gsize add_pieces(GArray *pieces, const char *text, guint64 first,
                        gsize length)
{
    const guint64 last = first + length;
    gsize sum = 0;

    for (const char *line = text; *line; line = strchrnul(line, '\n')) {
        guint64 start, end;

        line += *line == '\n';
        if (read_line(line, &start, &end) && start < last && end > first) {
            const guint64 from = MAX(start, first);
            const Piece piece = {.offset = (gsize)(from - first),
                                 .length = (gsize)(MIN(end, last) - from)};

            g_array_append_val(pieces, piece);
            sum += piece.length;
        }
    }
    return sum;
}

/* Returns: 0, or -errno; EFAULT: parts of it are not mapped */
static int list_pieces(const guint8 *addr, gsize length, GArray *pieces)
{
    g_autofree char *text = NULL;
    int ret = hm_os_read_text(MAPS, &text);

    if (ret < 0) {
        return ret;
    }
    return add_pieces(pieces, text, (guintptr)addr, length) == length ? 0
                                                                      : -EFAULT;
}

/* Moving them */

typedef struct {
    guint8 *from;
    guint8 *to;
    GArray *pieces; /* of Piece */
} Move;

static Piece *get_piece(const Move *self, guint i)
{
    return &g_array_index(self->pieces, Piece, i);
}

static int move_piece(const Move *self, Piece *piece)
{
    guint8 *from = self->from + piece->offset;
    guint8 *to = self->to + piece->offset;
    int ret = hm_os_move(from, piece->length, to, piece->length);

    if (ret < 0) {
        hm_mapping_reserve_again(to, piece->length);
        return ret;
    }
    piece->kept = hm_mapping_reserve_again(from, piece->length);
    return 0;
}

/* Some are here, the others there, and nobody could use them: to go back must
 * not fail. */
static void move_piece_back(const Move *self, const Piece *piece)
{
    guint8 *from = self->from + piece->offset;
    guint8 *to = self->to + piece->offset;

    if (!piece->kept ||
        hm_os_move(to, piece->length, from, piece->length) < 0) {
        g_error("memory at %p, half way to %p, can go neither on nor back",
                self->from, self->to);
    }
    hm_mapping_reserve_again(to, piece->length);
}

/* Returns: 0, or -errno, and all of them are where they were */
static int move_pieces(const Move *self)
{
    for (guint i = 0; i < self->pieces->len; i++) {
        int ret = move_piece(self, get_piece(self, i));

        if (ret < 0) {
            while (i-- > 0) {
                move_piece_back(self, get_piece(self, i));
            }
            return ret;
        }
    }
    return 0;
}

static gboolean kept_all(const Move *self)
{
    for (guint i = 0; i < self->pieces->len; i++) {
        if (!get_piece(self, i)->kept) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Give up the place that they have left, but for what is somebody else's. */
static void leave(const Move *self)
{
    for (guint i = 0; i < self->pieces->len; i++) {
        const Piece *piece = get_piece(self, i);

        if (piece->kept) {
            hm_os_unmap(self->from + piece->offset, piece->length);
        }
    }
}

/* There */

static gboolean refuse(const HmMappingOptions *options, HostmemError code,
                       const char *why, GError **error)
{
    return hm_set_error(error, code, "cannot move guest memory '%s': %s",
                        options->name ? options->name : "", why);
}

/* The limit may be another one by now. */
static gboolean too_much_locked(const HmMappingOptions *options, guint64 more,
                                GError **error)
{
    if (hm_memlock_check("it", more, error)) {
        return refuse(options, HOSTMEM_ERROR_LIMIT,
                      "it is locked, and would exceed RLIMIT_MEMLOCK", error);
    }
    g_prefix_error(error, "cannot move guest memory '%s': ",
                   options->name ? options->name : "");
    return FALSE;
}

static gboolean move_failed(const HmMapping *self, const HmBacking *backing,
                            const HmMappingOptions *options, int err,
                            GError **error)
{
    const HmBacking rest = hm_mapping_rest_of(backing, self->length);

    if (backing->kind == HM_MEM_HUGETLB && err == EINVAL) {
        return refuse(options, HOSTMEM_ERROR_UNSUPPORTED,
                      "private huge pages of a pool need Linux 5.17 for that",
                      error);
    }
    if (err == EFAULT) {
        return refuse(options, HOSTMEM_ERROR_UNSUPPORTED,
                      "parts of it are not mapped any more, or of a kind that "
                      "cannot be moved",
                      error);
    }
    if (err == EAGAIN) {
        return too_much_locked(options, rest.length, error);
    }
    hm_mapping_set_error(&rest, options, err, error);
    g_prefix_error(error, "cannot move guest memory '%s': ",
                   options->name ? options->name : "");
    return FALSE;
}

/* The place that is left, as far as it is ours. */
static HmMapping place_of(const HmMapping *self, gboolean kept)
{
    if (kept) {
        return (HmMapping){.reserved = self->reserved,
                           .reserved_length = self->reserved_length};
    }
    hm_os_unmap(self->addr + self->length,
                self->reserved_length - self->length);
    return (HmMapping){0};
}

/* Returns: 0, or -errno; EFAULT: it is not one mapping that can become longer
 */
static int take_whole(const HmMapping *self, gsize length,
                      const HmMapping *made, HmMapping *before)
{
    int ret = hm_os_move(self->addr, self->length, made->reserved, length);

    if (ret < 0) {
        hm_mapping_reserve_again(made->reserved, length);
        return ret;
    }
    *before =
        place_of(self, hm_mapping_reserve_again(self->addr, self->length));
    return 0;
}

/* Returns: 0, or -errno */
static int take_pieces(const HmMapping *self, const HmMapping *made,
                       HmMapping *before)
{
    g_autoptr(GArray) pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
    const Move move = {self->addr, made->reserved, pieces};
    int ret = list_pieces(self->addr, self->length, pieces);

    ret = ret < 0 ? ret : move_pieces(&move);
    if (ret < 0) {
        return ret;
    }
    if (!kept_all(&move)) {
        leave(&move);
    }
    *before = place_of(self, kept_all(&move));
    return 0;
}

static gboolean map_again(const HmMapping *self, const HmBacking *backing,
                          const HmMappingOptions *options,
                          const HmMapping *made, HmMapping *before,
                          gsize *fresh, GError **error)
{
    if (!hm_mapping_activate(made->reserved, backing, options, error)) {
        return FALSE;
    }
    *before = *self;
    *fresh = 0;
    return TRUE;
}

static gboolean take_and_map_rest(const HmMapping *self,
                                  const HmBacking *backing,
                                  const HmMappingOptions *options,
                                  const HmMapping *made, HmMapping *before,
                                  gsize *fresh, GError **error)
{
    const HmBacking rest = hm_mapping_rest_of(backing, self->length);
    guint8 *start = (guint8 *)made->reserved + self->length;
    int ret;

    if (!hm_mapping_activate(start, &rest, options, error)) {
        return FALSE;
    }
    ret = take_pieces(self, made, before);
    if (ret == -EINVAL && backing->kind == HM_MEM_HUGETLB && backing->shared) {
        return map_again(self, backing, options, made, before, fresh, error);
    }
    *fresh = self->length;
    return !ret || move_failed(self, backing, options, -ret, error);
}

static gboolean take(const HmMapping *self, const HmBacking *backing,
                     const HmMappingOptions *options, const HmMapping *made,
                     HmMapping *before, gsize *fresh, GError **error)
{
    const gsize length = (gsize)backing->length;
    int ret = backing->kind == HM_MEM_HUGETLB
                  ? -EFAULT
                  : take_whole(self, length, made, before);

    *fresh = length;
    if (ret == -EFAULT) {
        return take_and_map_rest(self, backing, options, made, before, fresh,
                                 error);
    }
    return !ret || move_failed(self, backing, options, -ret, error);
}

gboolean hm_mapping_move(HmMapping *self, const HmBacking *backing,
                         const HmMappingOptions *options, HmMapping *before,
                         gsize *fresh, GError **error)
{
    const HmBacking rest = hm_mapping_rest_of(backing, self->length);
    g_auto(HmMapping) made = {0};

    g_return_val_if_fail(!backing->parts, FALSE);
    g_return_val_if_fail(backing->length > self->length, FALSE);

    if (!hm_mapping_check(&rest, options, error) ||
        !hm_mapping_reserve(&made, backing, options, error) ||
        !take(self, backing, options, &made, before, fresh, error)) {
        return FALSE;
    }
    made.addr = made.reserved;
    made.length = (gsize)backing->length;
    *self = made;
    made = (HmMapping){0};
    return TRUE;
}

/* And back */

/* Returns: whether they are in @place again; a gap is left behind then, which
 * is anybody's */
static gboolean return_pages(HmMapping *self, HmMapping *place, gsize length)
{
    g_autoptr(GArray) pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
    const Move move = {self->addr, place->reserved, pieces};

    if (!place->reserved) {
        return FALSE;
    }
    if (list_pieces(self->addr, length, pieces) < 0 || move_pieces(&move) < 0) {
        hm_mapping_clear(place);
        return FALSE;
    }
    leave(&move);
    place->addr = place->reserved;
    place->length = length;
    self->reserved = self->addr + length;
    self->reserved_length -= length;
    return TRUE;
}

gboolean hm_mapping_move_back(HmMapping *self, HmMapping *before, gsize length)
{
    HmMapping place = *before;

    *before = (HmMapping){0};
    if (!place.addr && !return_pages(self, &place, length)) {
        hm_mapping_undo_grow(self, length);
        return FALSE;
    }
    hm_mapping_clear(self);
    *self = place;
    return TRUE;
}
