/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>
#include <hostmem/hostmem.h>

/* What the files of hostmemd tell each other.  All of it runs in the main
 * thread. */

/* The command line: hostmemd-options.c */

typedef struct {
    GPtrArray *objects; /* (element-type utf8): each -object, as written */
    char *name;
    gboolean once;
    gboolean quiet;
    gboolean print_capabilities;
    gboolean version;
    gboolean help;
} HmOptions;

/**
 * hm_options_parse: read a command line.
 * @argv: NULL-terminated, with the program's name first
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID (unknown
 * option, missing argument, options that do not go together)
 */
HmOptions *hm_options_parse(char **argv, GError **error);
void hm_options_free(HmOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmOptions, hm_options_free)

/** Returns: (transfer full): the text of --help, made from the option rows */
char *hm_options_help(void);

/* Words for people: hostmemd-text.c */

/**
 * hm_text_put: write and flush.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_SYSTEM (disk full, reader gone)
 */
gboolean hm_text_put(FILE *stream, const char *text, GError **error);
