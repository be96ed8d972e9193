/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/mman.h>
#include "backends/hostmem.h"
#include "util/align.h"
#include "util/error.h"
#include "util/os.h"

typedef struct {
    HostmemBackend parent_instance;

    char *mem_path;
    guint64 align;
    guint64 offset;
    gboolean discard_data; /* live */
    gboolean pmem;
    gboolean readonly;
    gint rom; /* as given; see is_rom() */
} HostmemBackendFile;

typedef struct {
    HostmemBackendClass parent_class;
} HostmemBackendFileClass;

G_DEFINE_TYPE(HostmemBackendFile, hostmem_backend_file, HOSTMEM_TYPE_BACKEND)

#define BACKEND_FILE(obj)                                              \
    G_TYPE_CHECK_INSTANCE_CAST((obj), hostmem_backend_file_get_type(), \
                               HostmemBackendFile)

/* Whether the memory can only be read: "auto" follows "readonly". */
static gboolean is_rom(const HostmemBackendFile *self)
{
    return self->rom == HOSTMEM_AUTO ? self->readonly : self->rom == HOSTMEM_ON;
}

/* Reads back as what was decided, once it is. */
static void get_rom(gpointer object, GValue *value)
{
    const HostmemBackendFile *self = BACKEND_FILE(object);

    if (!hm_object_is_complete(object)) {
        g_value_set_enum(value, self->rom);
        return;
    }
    g_value_set_enum(value, is_rom(self) ? HOSTMEM_ON : HOSTMEM_OFF);
}

static const HmProp file_props[] = {
    {
        .name = "mem-path",
        .kind = HM_PROP_STRING,
        .flags = HM_PROP_REQUIRED,
        .offset = HM_PROP_FIELD(HostmemBackendFile, mem_path),
        .description = "The file, made when it does not exist; in a "
                       "directory, a temporary file",
    },
    {
        .name = "align",
        .kind = HM_PROP_SIZE,
        .offset = HM_PROP_FIELD(HostmemBackendFile, align),
        .description = "Alignment of the mapping (0: a page)",
    },
    {
        .name = "offset",
        .kind = HM_PROP_SIZE,
        .offset = HM_PROP_FIELD(HostmemBackendFile, offset),
        .description = "Where in the file the memory starts",
    },
    {
        .name = "discard-data",
        .kind = HM_PROP_BOOL,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackendFile, discard_data),
        .description = "Free the blocks of the file with the object",
    },
    {
        .name = "pmem",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemBackendFile, pmem),
        .description = "Insist on persistent memory, mapped synchronously",
    },
    {
        .name = "readonly",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemBackendFile, readonly),
        .description = "Open the file for reading only",
    },
    {
        .name = "rom",
        .kind = HM_PROP_ENUM,
        .offset = HM_PROP_FIELD(HostmemBackendFile, rom),
        .def = HOSTMEM_AUTO,
        .type = hostmem_on_off_auto_get_type,
        .type_name = "OnOffAuto",
        .get = get_rom,
        .description = "Make the memory itself read-only (auto: when the "
                       "file is)",
    },
};

static gboolean check_rom(const HostmemBackendFile *self, GError **error)
{
    const HostmemBackend *backend = &self->parent_instance;

    if (self->rom == HOSTMEM_ON && !self->readonly) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "property 'rom' = 'on' is not supported with "
                            "'readonly' = 'off'");
    }
    if (self->rom == HOSTMEM_OFF && self->readonly && backend->share) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "property 'rom' = 'off' is incompatible with "
                            "'readonly' = 'on' and 'share' = 'on'");
    }
    if (is_rom(self) && backend->prealloc &&
        backend->prealloc_state != HOSTMEM_PREALLOC_STATE_READABLE) {
        return hm_set_error(
            error, HOSTMEM_ERROR_INVALID,
            "property 'prealloc' = 'on' is incompatible with "
            "'readonly' = 'on': the memory cannot be written; "
            "'prealloc-state' = 'readable' only reads it, 'rom' = "
            "'off' makes a private copy that can be written");
    }
    return TRUE;
}

static gboolean backend_file_check(HostmemBackend *backend, GError **error)
{
    HostmemBackendFile *self = BACKEND_FILE(backend);

    if (backend->pool) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "property 'pool' does not go with "
                            "memory-backend-file: its memory is the file");
    }
    if (!self->mem_path || !*self->mem_path) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "mem-path property not set");
    }
    if (self->pmem && !backend->share) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "property 'pmem' = 'on' needs 'share' = 'on': a "
                            "private copy does not persist");
    }
    return check_rom(self, error);
}

static gboolean backend_file_check_export(HostmemBackend *backend,
                                          GError **error)
{
    if (backend->export_path) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "property 'export-path' is not for "
                            "memory-backend-file: others find its memory by "
                            "mem-path");
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "property 'export-owner' is not for "
                        "memory-backend-file: the file of mem-path keeps its "
                        "owner");
}

static gboolean check_align(const HostmemBackendFile *self, GError **error)
{
    const gsize page_size = self->parent_instance.backing.page_size;

    if (!hm_is_aligned(self->align, page_size)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "alignment 0x%" G_GINT64_MODIFIER
                            "x must be multiples of page size 0x%zx",
                            self->align, page_size);
    }
    if (self->align && !hm_is_pow2(self->align)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "alignment 0x%" G_GINT64_MODIFIER
                            "x must be a power of two",
                            self->align);
    }
    return TRUE;
}

static gboolean check_pmem(const HostmemBackendFile *self, GError **error)
{
    const HmBacking *backing = &self->parent_instance.backing;

    if (!self->pmem || backing->kind == HM_MEM_DAX) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                        "property 'pmem' = 'on': %s is no persistent memory "
                        "that can be mapped directly (DAX), but %s",
                        self->mem_path, hm_mem_kind_name(backing->kind));
}

static gboolean check_opened(HostmemBackendFile *self, GError **error)
{
    HostmemBackend *backend = &self->parent_instance;

    return check_align(self, error) && check_pmem(self, error) &&
           hm_backend_check_multiple(backend, backend->backing.page_size,
                                     error);
}

static gboolean backend_file_open(HostmemBackend *backend, GError **error)
{
    HostmemBackendFile *self = BACKEND_FILE(backend);
    g_autofree char *name = hm_backend_block_name(backend);
    HmBackingFileOptions options = {
        .path = self->mem_path,
        .name = name,
        .size = backend->size,
        .offset = self->offset,
        .shared = backend->share,
        .readonly = self->readonly,
    };

    return hm_backing_init_file(&backend->backing, &options, error) &&
           check_opened(self, error);
}

static gboolean backend_file_adopt(HostmemBackend *backend, GError **error)
{
    HostmemBackendFile *self = BACKEND_FILE(backend);
    const HmBackingAdoptOptions expected = {
        .path = self->mem_path,
        .any_kind = TRUE,
        .offset = self->offset,
        .readonly = self->readonly,
        .may_be_longer = TRUE,
    };

    return hm_backend_adopt(backend, &expected, error) &&
           check_opened(self, error);
}

static void backend_file_mapping_options(HostmemBackend *backend,
                                         HmMappingOptions *options)
{
    HostmemBackendFile *self = BACKEND_FILE(backend);

    options->align = self->align;
    options->readonly = is_rom(self);
    options->sync = self->pmem;
}

/* Only what is written through to the file has data to discard there. */
static void backend_file_closing(HostmemBackend *backend)
{
    HostmemBackendFile *self = BACKEND_FILE(backend);
    int ret;

    if (!self->discard_data || !backend->writable || !backend->share) {
        return;
    }
    ret = hm_os_advise(backend->mapping.addr, backend->mapping.length,
                       MADV_REMOVE);
    if (ret) {
        g_message("discard-data: the blocks of %s stay: %s", self->mem_path,
                  g_strerror(-ret));
    }
}

static void hostmem_backend_file_init(HostmemBackendFile *self G_GNUC_UNUSED)
{
}

static void hostmem_backend_file_class_init(HostmemBackendFileClass *klass)
{
    HostmemBackendClass *backend_class = HOSTMEM_BACKEND_CLASS(klass);

    HOSTMEM_OBJECT_CLASS(klass)->type_name = "memory-backend-file";
    backend_class->check = backend_file_check;
    backend_class->check_export = backend_file_check_export;
    backend_class->open_backing = backend_file_open;
    backend_class->adopt_backing = backend_file_adopt;
    backend_class->mapping_options = backend_file_mapping_options;
    backend_class->closing = backend_file_closing;
    hm_props_install(G_OBJECT_CLASS(klass), file_props,
                     G_N_ELEMENTS(file_props));
}
