/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <xxhash.h>
#include "util/align.h"
#include "util/error.h"
#include "util/image.h"
#include "util/size.h"

#define VERSION     1
#define DATA_OFFSET (64 * 1024)
/* No memory is larger; far below where sums would overflow. */
#define MAX_LENGTH (G_GUINT64_CONSTANT(1) << 62)

static const char magic[8] = "HMEMIMG\n";

/* As it lies in the file, little endian. */
typedef struct {
    char magic[8];
    guint32 version;
    guint32 block;   /* HM_IMAGE_BLOCK */
    guint32 granule; /* HM_IMAGE_GRANULE */
    guint32 zero;
    guint64 size;
    guint64 length;
    guint64 page_size;
    guint64 data_offset;
    guint64 table_offset;
    guint64 stored;
    guint64 table_hash;
    guint64 hash; /* of all before it */
} RawHeader;

G_STATIC_ASSERT(G_STRUCT_OFFSET(RawHeader, hash) == HM_IMAGE_HASHED);

guint64 hm_image_hash(const void *data, gsize length)
{
    return XXH3_64bits(data, length);
}

gboolean hm_image_layout(HmImageInfo *info, guint64 size, guint64 length,
                         guint64 page_size)
{
    if (!size || length > MAX_LENGTH) {
        return FALSE;
    }
    *info = (HmImageInfo){
        .size = size,
        .length = length,
        .page_size = page_size,
        .data_offset = DATA_OFFSET,
        .n_blocks = (length - 1) / HM_IMAGE_BLOCK + 1,
    };
    info->table_offset = info->data_offset + info->n_blocks * HM_IMAGE_BLOCK;
    return TRUE;
}

void hm_image_format_header(const HmImageInfo *info, guint8 *raw)
{
    RawHeader header = {
        .version = GUINT32_TO_LE(VERSION),
        .block = GUINT32_TO_LE(HM_IMAGE_BLOCK),
        .granule = GUINT32_TO_LE(HM_IMAGE_GRANULE),
        .size = GUINT64_TO_LE(info->size),
        .length = GUINT64_TO_LE(info->length),
        .page_size = GUINT64_TO_LE(info->page_size),
        .data_offset = GUINT64_TO_LE(info->data_offset),
        .table_offset = GUINT64_TO_LE(info->table_offset),
        .stored = GUINT64_TO_LE(info->stored),
        .table_hash = GUINT64_TO_LE(info->table_hash),
    };

    memcpy(header.magic, magic, sizeof(magic));
    header.hash = GUINT64_TO_LE(hm_image_hash(&header, HM_IMAGE_HASHED));
    memset(raw, 0, HM_IMAGE_HEADER_SIZE);
    memcpy(raw, &header, sizeof(header));
}

static gboolean check_kind(const RawHeader *header, GError **error)
{
    if (memcmp(header->magic, magic, sizeof(magic)) != 0) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "it is no image of memory");
    }
    if (GUINT32_FROM_LE(header->version) != VERSION) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "its format is version %u, and only version %u is "
                            "known",
                            GUINT32_FROM_LE(header->version), VERSION);
    }
    if (GUINT64_FROM_LE(header->hash) !=
        hm_image_hash(header, HM_IMAGE_HASHED)) {
        return hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                            "its header was altered: the checksum is wrong");
    }
    return TRUE;
}

/* A checksum is no proof that somebody meant well. */
static gboolean read_layout(const RawHeader *header, HmImageInfo *info)
{
    const guint64 length = GUINT64_FROM_LE(header->length);
    const guint64 size = GUINT64_FROM_LE(header->size);
    const guint64 page_size = GUINT64_FROM_LE(header->page_size);

    if (GUINT32_FROM_LE(header->block) != HM_IMAGE_BLOCK ||
        GUINT32_FROM_LE(header->granule) != HM_IMAGE_GRANULE ||
        !hm_is_pow2(page_size) || page_size < HM_IMAGE_GRANULE ||
        !hm_is_aligned(length, page_size) || size > length ||
        length - size >= page_size ||
        !hm_image_layout(info, size, length, page_size)) {
        return FALSE;
    }
    info->stored = GUINT64_FROM_LE(header->stored);
    info->table_hash = GUINT64_FROM_LE(header->table_hash);
    return info->data_offset == GUINT64_FROM_LE(header->data_offset) &&
           info->table_offset == GUINT64_FROM_LE(header->table_offset) &&
           info->stored <= length &&
           hm_is_aligned(info->stored, HM_IMAGE_GRANULE);
}

static gboolean check_file_size(const HmImageInfo *info, guint64 file_size,
                                GError **error)
{
    const guint64 whole =
        info->table_offset + info->n_blocks * HM_IMAGE_ENTRY_SIZE;

    if (file_size == whole) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                        "it was %s: it has %" G_GUINT64_FORMAT
                        " bytes instead of %" G_GUINT64_FORMAT,
                        file_size < whole ? "cut short" : "made longer",
                        file_size, whole);
}

gboolean hm_image_parse_header(const guint8 *raw, guint64 file_size,
                               HmImageInfo *info, GError **error)
{
    RawHeader header;

    memcpy(&header, raw, sizeof(header));
    if (!check_kind(&header, error)) {
        return FALSE;
    }
    if (!read_layout(&header, info)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "what its header says cannot be");
    }
    return check_file_size(info, file_size, error);
}
