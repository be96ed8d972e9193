/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/idset.h"
#include "util/range.h"

/** What kind of memory a backing is, as the kernel treats it. */
typedef enum {
    HM_MEM_ANON,    /* private anonymous */
    HM_MEM_SHMEM,   /* memfd, POSIX shm, a file on any tmpfs */
    HM_MEM_HUGETLB, /* hugetlb memfd or a file on hugetlbfs */
    HM_MEM_FILE,    /* a regular file on a filesystem with storage */
    HM_MEM_DAX,     /* persistent memory mapped directly */
} HmMemKind;

const char *hm_mem_kind_name(HmMemKind kind);

/** A stretch of memory that lies in one of several files. */
typedef struct {
    int fd;            /* borrowed */
    guint64 fd_offset; /* bytes; where it starts in @fd */
    guint64 offset;    /* bytes; where it starts in the memory */
    guint64 length;    /* bytes, whole pages */
} HmBackingPart;

/**
 * Where bytes come from, before they are mapped.
 *
 * With @parts the files are laid end to end, and @offset and all that is said
 * of a place in @fd counts through them.
 */
typedef struct {
    HmMemKind kind;
    int fd;               /* owned; -1 for HM_MEM_ANON, and with @parts */
    gboolean borrowed;    /* @fd is somebody else's */
    HmBackingPart *parts; /* owned (nullable): several files, without gaps */
    guint n_parts;
    guint64 offset;     /* bytes; where the memory starts in @fd */
    guint64 length;     /* bytes to map, a multiple of @page_size */
    gsize page_size;    /* bytes */
    gboolean shared;    /* writes reach @fd */
    gboolean readonly;  /* @fd was opened read-only */
    gboolean sealed;    /* nobody can change the length of @fd */
    gboolean uncounted; /* memfd_create(2) opened it: nobody knows who has it */
    gboolean own_tmpfs; /* on our private huge=always tmpfs */
    gboolean created;   /* we created @path */
    gboolean resized;   /* it was 0 bytes long, we gave it its length */
    char *path;         /* owned; for messages and unlink; NULL without name */
} HmBacking;

#define HM_BACKING_INIT \
    {                   \
        .fd = -1        \
    }

/**
 * hm_backing_parts_find: where a place in several files is.
 * @offset: bytes, through all of them
 * @length: bytes that the caller looks at; cut to what lies in that file
 * @fd_offset: (out): bytes; the place in that file
 *
 * Returns: the file; -1: behind the last one
 */
int hm_backing_parts_find(const HmBackingPart *parts, guint n, guint64 offset,
                          guint64 *length, guint64 *fd_offset);

/** Close and free; a file we created stays. */
void hm_backing_clear(HmBacking *self);
/**
 * The same, and remove a file we created, or make one we resized empty again:
 * for the way back from a failure.
 */
void hm_backing_undo(HmBacking *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HmBacking, hm_backing_undo)

/**
 * hm_backing_init_anon: private anonymous memory.
 * @size: bytes; rounded up to whole pages
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (0, or 2^63 and more)
 */
gboolean hm_backing_init_anon(HmBacking *self, guint64 size, GError **error);

/**
 * hm_backing_init_memfd: a memfd of @size bytes.
 * @name: shown in /proc, as far as it fits
 * @huge_page_size: bytes, a power of two; 0 for base pages
 * @seal: add F_SEAL_GROW, F_SEAL_SHRINK and F_SEAL_SEAL
 * @shared: how it will be mapped
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (@size is no multiple of the page
 * size), %HOSTMEM_ERROR_UNSUPPORTED (huge page size, sealing),
 * %HOSTMEM_ERROR_LIMIT (RLIMIT_NOFILE, RLIMIT_FSIZE), %HOSTMEM_ERROR_SYSTEM;
 * @self is as HM_BACKING_INIT then
 */
gboolean hm_backing_init_memfd(HmBacking *self, const char *name, guint64 size,
                               gsize huge_page_size, gboolean seal,
                               gboolean shared, GError **error);

/** A POSIX shared memory object without a name; errors as of memfd. */
gboolean hm_backing_init_shm(HmBacking *self, guint64 size, GError **error);

/**
 * An unnamed file on a private tmpfs of huge pages; errors as of memfd, and
 * %HOSTMEM_ERROR_PERMISSION or %HOSTMEM_ERROR_UNSUPPORTED (no mounts here).
 */
gboolean hm_backing_init_own_tmpfs(HmBacking *self, guint64 size,
                                   gboolean shared, GError **error);

/**
 * hm_backing_trim: what a file has behind the memory goes.
 *
 * Of a file that was made here, and that nobody else has open or mapped; else
 * nothing changes.
 */
void hm_backing_trim(HmBacking *self);
/**
 * hm_backing_grow: see that there is file for @length bytes of memory.
 * @what: of the file, for messages
 * @file_length: (out): bytes that it had, to be given to
 * hm_backing_undo_grow(); 0: it was long enough
 *
 * Makes it longer, if it ends too early; a file that is sealed, or read-only,
 * has to be long enough.  What is new reads as zeroes, unless somebody else has
 * the file, or it is the user's.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (it is not, or more than 8 EiB),
 * %HOSTMEM_ERROR_NO_SPACE, %HOSTMEM_ERROR_LIMIT (RLIMIT_FSIZE) or
 * %HOSTMEM_ERROR_SYSTEM, and nothing has changed
 */
gboolean hm_backing_grow(HmBacking *self, guint64 length, const char *what,
                         guint64 *file_length, GError **error);
/** Undo hm_backing_grow() from @length bytes; whoever used more loses it. */
void hm_backing_undo_grow(HmBacking *self, guint64 length, guint64 file_length);
/**
 * hm_backing_shrink: have but @length bytes of memory, and give back what a
 * shared file has behind them, which is not mapped any more.
 * @what: of the file, for messages
 *
 * A file that ends with the memory becomes shorter; of a longer or sealed one
 * that part becomes a hole.  Private mappings, read-only files and devices keep
 * their file.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_UNSUPPORTED (no holes in such a file) or
 * %HOSTMEM_ERROR_SYSTEM, and nothing has changed
 */
gboolean hm_backing_shrink(HmBacking *self, guint64 length, const char *what,
                           GError **error);

/** How to open a file: see memory-backend-file's properties. */
typedef struct {
    const char *path;
    const char *name; /* of the object; for messages and a temporary file */
    guint64 size;     /* bytes; rounded up to whole pages of the file's kind */
    guint64 offset;   /* bytes */
    gboolean shared;
    gboolean readonly; /* open O_RDONLY, never create */
} HmBackingFileOptions;

/**
 * hm_backing_init_file: a file, created when missing; in a directory an
 * unnamed temporary file.
 *
 * An existing file of another length than 0 is never resized; what is no
 * regular file, directory or DAX device is never opened.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND, %HOSTMEM_ERROR_PERMISSION,
 * %HOSTMEM_ERROR_INVALID (a FIFO, socket or device without memory; a directory
 * with readonly; the file is too small; size below a page; offset no multiple
 * of the page size), %HOSTMEM_ERROR_NO_SPACE, %HOSTMEM_ERROR_LIMIT
 * (RLIMIT_NOFILE, RLIMIT_FSIZE), %HOSTMEM_ERROR_SYSTEM; a file is as it was
 * before, and @self is as HM_BACKING_INIT then
 */
gboolean hm_backing_init_file(HmBacking *self,
                              const HmBackingFileOptions *options,
                              GError **error);

/** What a descriptor that another process has left must be. */
typedef struct {
    const char *name;  /* of the descriptor; for messages */
    const char *path;  /* (nullable): of the file, for messages */
    guint64 device;    /* st_dev and st_ino */
    guint64 inode;     /* of the file that was left */
    gboolean any_kind; /* a file may be on any filesystem */
    HmMemKind kind;    /* otherwise */
    gsize page_size;   /* bytes; 0: any */
    guint64 size;      /* bytes; rounded up to whole pages of its kind */
    guint64 offset;    /* bytes */
    gboolean shared;   /* how it will be mapped */
    gboolean readonly; /* open for reading is enough */
    gboolean sealed;   /* nobody may resize it */
    gboolean may_be_longer;
} HmBackingAdoptOptions;

/**
 * hm_backing_adopt: memory that is there already.
 * @fd: (transfer full): also after a failure
 *
 * Opens, makes, resizes and removes nothing.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_CHANGED (it is not what it must be) or
 * %HOSTMEM_ERROR_SYSTEM; @self is as HM_BACKING_INIT then
 */
gboolean hm_backing_adopt(HmBacking *self, int fd,
                          const HmBackingAdoptOptions *options, GError **error);

/**
 * hm_backing_holes: the parts of a range that certainly hold no data now.
 *
 * What is listed may be given back after a failed populate without losing
 * anything.  Offsets count from the start of the backing, as those of @range.
 * Private mappings: pages without a page table entry.  Conservative: a kind of
 * file that cannot tell has no holes; hugetlb has all or none.
 * @addr: where all of the backing is mapped
 *
 * Returns: (transfer full)
 */
HmRangeList *hm_backing_holes(const HmBacking *self, const void *addr,
                              const HmRange *range);

/**
 * Whether no touch of it can raise SIGBUS, whatever others do: nobody can make
 * it shorter, and neither storage nor a pool of huge pages can run out.
 */
gboolean hm_backing_is_certain(const HmBacking *self);

/**
 * Bytes with storage now, at most its length: blocks of a shared file, page
 * table entries of private memory; of that 0 when @addr is NULL, not mapped.
 */
guint64 hm_backing_backed_size(const HmBacking *self, const void *addr);
