/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/prealloc.h"

/*
 * A file with what memory held at one moment.
 *
 *   header            4 KiB, and zeroes up to where the data starts
 *   data              each byte of the memory at its own offset; what is zero
 *                     is a hole
 *   table             an entry for each block of 64 KiB: which of its granules
 *                     of 4 KiB are stored, and a checksum of these
 *
 * All numbers are little endian.  Checksums are 64 bits of XXH3: they find what
 * was damaged, not what was forged.
 */
#define HM_IMAGE_HEADER_SIZE 4096
#define HM_IMAGE_BLOCK       (64 * 1024)
#define HM_IMAGE_GRANULE     4096
#define HM_IMAGE_ENTRY_SIZE  16
/* Bytes of the header that its checksum, behind them, is of. */
#define HM_IMAGE_HASHED 80
/* Bytes of memory that are copied in one go, at most. */
#define HM_IMAGE_STEP (2 * 1024 * 1024)

/** An entry of the table, as it lies in the file. */
typedef struct {
    guint64 hash;   /* of the granules that are stored, end to end */
    guint32 stored; /* a bit for a granule */
    guint32 zero;
} HmImageEntry;

/** What a header says. */
typedef struct {
    guint64 size;         /* bytes of memory, as its owner gave it */
    guint64 length;       /* the same in whole pages */
    guint64 page_size;    /* bytes, of what backed it */
    guint64 data_offset;  /* bytes, in the file */
    guint64 table_offset; /* bytes, in the file */
    guint64 n_blocks;
    guint64 stored; /* bytes of data that are no holes */
    guint64 table_hash;
} HmImageInfo;

/**
 * hm_image_parse_header: understand the first bytes of a file.
 * @raw: %HM_IMAGE_HEADER_SIZE bytes, from outside
 * @file_size: bytes of the file
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (no image, or of another version)
 * or %HOSTMEM_ERROR_CHANGED (altered, cut short)
 */
gboolean hm_image_parse_header(const guint8 *raw, guint64 file_size,
                               HmImageInfo *info, GError **error);
/** The other way round; fills all of @raw. */
void hm_image_format_header(const HmImageInfo *info, guint8 *raw);
/** Lay out an image; @length: of whole pages.  FALSE: it would be too large. */
gboolean hm_image_layout(HmImageInfo *info, guint64 size, guint64 length,
                         guint64 page_size);
/** The checksum of all that has one. */
guint64 hm_image_hash(const void *data, gsize length);

/* Writing */

/** Memory that was copied, without what is zero. */
typedef struct {
    guint8 *data;   /* granules end to end */
    guint64 offset; /* of the memory; a multiple of HM_IMAGE_BLOCK */
    guint64 length; /* of the memory; bytes */
    guint16 stored[HM_IMAGE_STEP / HM_IMAGE_BLOCK]; /* a bit for a granule */
} HmImageCopy;

/** Room for @length bytes of memory, at most HM_IMAGE_STEP. */
HmImageCopy *hm_image_copy_new(gsize length);
void hm_image_copy_free(HmImageCopy *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmImageCopy, hm_image_copy_free)
/**
 * hm_image_copy_take: copy @length bytes that are at @offset of the memory, if
 * there is room for them; nobody writes to them meanwhile.
 *
 * Returns: 0; -EFAULT when a page could not be had, for its file was truncated,
 * -EHWPOISON or another -errno of hm_sigbus_run(): then the copy is of no use
 */
int hm_image_copy_take(HmImageCopy *self, const guint8 *memory, guint64 offset,
                       guint64 length);

/** An image that is being written: a file without a name until it is done. */
typedef struct HmImageWriter HmImageWriter;

/**
 * hm_image_writer_new: begin an image.
 * @path: of the file, which must not be there
 * @size: bytes of memory
 * @length: the same in whole pages
 *
 * Returns: NULL with %HOSTMEM_ERROR_EXISTS, %HOSTMEM_ERROR_NOT_FOUND (the
 * directory), %HOSTMEM_ERROR_PERMISSION, %HOSTMEM_ERROR_LIMIT,
 * %HOSTMEM_ERROR_NO_MEMORY (for the table), %HOSTMEM_ERROR_NO_SPACE,
 * %HOSTMEM_ERROR_SYSTEM
 */
HmImageWriter *hm_image_writer_new(const char *path, guint64 size,
                                   guint64 length, guint64 page_size,
                                   GError **error);
/** Unless it was finished, nothing stays. */
void hm_image_writer_free(HmImageWriter *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmImageWriter, hm_image_writer_free)
/**
 * hm_image_writer_put: store what was copied; each block once, any thread.
 * @stored: (out) (optional): bytes that were written
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NO_SPACE, %HOSTMEM_ERROR_LIMIT,
 * %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_image_writer_put(HmImageWriter *self, const HmImageCopy *copy,
                             guint64 *stored, GError **error);
/**
 * hm_image_writer_finish: write the rest, wait until it is on the disk, and
 * give the file its name.
 *
 * Returns: FALSE as hm_image_writer_put(), and with %HOSTMEM_ERROR_EXISTS
 */
gboolean hm_image_writer_finish(HmImageWriter *self, GError **error);

/* Reading */

/** An image whose header and table are what they should be. */
typedef struct HmImage HmImage;

/**
 * hm_image_open: open an image, for memory of this size.
 *
 * Returns: NULL with %HOSTMEM_ERROR_NOT_FOUND, %HOSTMEM_ERROR_PERMISSION,
 * %HOSTMEM_ERROR_INVALID (no image, or of other memory), %HOSTMEM_ERROR_CHANGED
 * (altered, cut short), %HOSTMEM_ERROR_NO_MEMORY (for the table),
 * %HOSTMEM_ERROR_SYSTEM
 */
HmImage *hm_image_open(const char *path, guint64 size, GError **error);
void hm_image_free(HmImage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmImage, hm_image_free)
/** Returns: FALSE with %HOSTMEM_ERROR_INVALID: the memory has other pages */
gboolean hm_image_check_page_size(const HmImage *self, guint64 page_size,
                                  GError **error);
/** Bytes of the data that are no holes. */
guint64 hm_image_get_stored(const HmImage *self);
/**
 * hm_image_load: fill memory that reads as zeroes.
 * @addr: of all of the memory, which nobody else uses
 * @threads: how many do it
 * @progress: (nullable): bytes that are done; holes are, too
 *
 * Touches what is stored alone.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_CHANGED (altered),
 * %HOSTMEM_ERROR_NO_MEMORY (no page to be had), %HOSTMEM_ERROR_SYSTEM,
 * %G_IO_ERROR_CANCELLED; some of the memory is filled then
 */
gboolean hm_image_load(HmImage *self, guint8 *addr, guint threads,
                       GCancellable *cancellable, HmProgress *progress,
                       GError **error);
