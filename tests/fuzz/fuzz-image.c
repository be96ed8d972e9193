/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "fuzz.h"
#include "util/align.h"
#include "util/image.h"

/* What a file claims to be: its first bytes, behind them its size. */

static guint64 whole_size(const HmImageInfo *info)
{
    return info->table_offset + info->n_blocks * HM_IMAGE_ENTRY_SIZE;
}

static void check_layout(const HmImageInfo *info)
{
    g_assert_true(hm_is_pow2(info->page_size));
    g_assert_true(hm_is_aligned(info->length, info->page_size));
    g_assert_cmpuint(info->size, <=, info->length);
    g_assert_cmpuint(info->stored, <=, info->length);
    g_assert_cmpuint(info->n_blocks, >, 0);
    g_assert_cmpuint((info->n_blocks - 1) * HM_IMAGE_BLOCK, <, info->length);
    g_assert_cmpuint(info->data_offset, >=, HM_IMAGE_HEADER_SIZE);
    g_assert_cmpuint(info->table_offset, >=, info->data_offset + info->length);
    g_assert_cmpuint(whole_size(info), >, info->table_offset);
}

/* What is accepted is written again as something that is. */
static void check_round(const HmImageInfo *info)
{
    guint8 raw[HM_IMAGE_HEADER_SIZE];
    HmImageInfo again;

    hm_image_format_header(info, raw);
    g_assert_true(hm_image_parse_header(raw, whole_size(info), &again, NULL));
    g_assert_cmpmem(&again, sizeof(again), info, sizeof(*info));
}

static void parse(const guint8 *raw, guint64 file_size)
{
    HmImageInfo info = {0};
    g_autoptr(GError) error = NULL;
    gboolean ok = hm_image_parse_header(raw, file_size, &info, &error);

    fuzz_check_error(ok, error);
    if (ok) {
        check_layout(&info);
        check_round(&info);
    }
}

/* With the checksum that it should have, or nothing but that is ever tried. */
static void seal(guint8 *raw)
{
    guint64 hash = GUINT64_TO_LE(hm_image_hash(raw, HM_IMAGE_HASHED));

    memcpy(raw + HM_IMAGE_HASHED, &hash, sizeof(hash));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    guint8 raw[HM_IMAGE_HEADER_SIZE] = {0};
    guint64 file_size = 0;
    HmImageInfo info = {0};

    memcpy(raw, data, MIN(size, sizeof(raw)));
    if (size >= HM_IMAGE_HASHED + 16) {
        memcpy(&file_size, data + size - sizeof(file_size), sizeof(file_size));
    }
    parse(raw, file_size);
    seal(raw);
    parse(raw, file_size);
    if (hm_image_layout(&info, file_size >> 1, file_size >> 1, 4096)) {
        parse(raw, whole_size(&info));
    }
    return 0;
}
