/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "fuzz.h"

/*
 * Runs a target without a fuzzer: `fuzz-X DIRECTORY...`, each file of the
 * corpus once, then mutations of them.  The same ones at each run, so that a
 * failure comes back.
 */
#define SEED      1
#define MUTATIONS 2000
#define INPUT_MAX 4096
#define EDITS_MAX 6

/* Bytes that mean something to one of the grammars. */
static const char telling[] =
    "{}[]\",:=.\\-+0189eEkMGnofux\n\t \001\177\200\377";

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Directories list their files in any order; ours must be the same. */
static GPtrArray *list_files(const char *directory)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(directory, 0, &error);
    const char *name;

    g_assert_no_error(error);
    while ((name = g_dir_read_name(dir))) {
        g_ptr_array_add(paths, g_build_filename(directory, name, NULL));
    }
    g_ptr_array_sort(paths, compare_names);
    return paths;
}

static void add_files(GPtrArray *corpus, const char *directory)
{
    g_autoptr(GPtrArray) paths = list_files(directory);

    for (guint i = 0; i < paths->len; i++) {
        g_autoptr(GError) error = NULL;
        char *content;
        gsize length;

        g_file_get_contents(paths->pdata[i], &content, &length, &error);
        g_assert_no_error(error);
        g_ptr_array_add(corpus, g_bytes_new_take(content, length));
    }
}

static void run(gconstpointer data, gsize size)
{
    /* A copy without a byte behind it, so that a sanitizer sees a stray read */
    g_autofree uint8_t *copy = g_memdup2(data, size);

    LLVMFuzzerTestOneInput(copy ? copy : (const uint8_t *)"", size);
}

static gsize below(GRand *random, gsize limit)
{
    return limit ? g_rand_int(random) % limit : 0;
}

static void replace_byte(GByteArray *input, GRand *random)
{
    if (input->len) {
        input->data[below(random, input->len)] =
            (guint8)telling[below(random, sizeof(telling))];
    }
}

static void insert_byte(GByteArray *input, GRand *random)
{
    gsize at = below(random, input->len + 1);

    g_byte_array_set_size(input, input->len + 1);
    memmove(input->data + at + 1, input->data + at, input->len - at - 1);
    input->data[at] = (guint8)telling[below(random, sizeof(telling))];
}

static void remove_run(GByteArray *input, GRand *random)
{
    guint at = (guint)below(random, input->len);

    if (input->len) {
        g_byte_array_remove_range(
            input, at, (guint)below(random, MIN(16, input->len - at) + 1));
    }
}

static void append_from(GByteArray *input, GBytes *other, GRand *random)
{
    gsize size;
    const guint8 *data = g_bytes_get_data(other, &size);
    gsize at = below(random, size);

    g_byte_array_append(input, data + at, (guint)below(random, size - at + 1));
}

static void mutate(GByteArray *input, GPtrArray *corpus, GRand *random)
{
    switch (below(random, 4)) {
    case 0:
        replace_byte(input, random);
        break;
    case 1:
        insert_byte(input, random);
        break;
    case 2:
        remove_run(input, random);
        break;
    default:
        append_from(input, corpus->pdata[below(random, corpus->len)], random);
    }
}

static void run_mutation(GPtrArray *corpus, GRand *random)
{
    GBytes *origin = corpus->pdata[below(random, corpus->len)];
    g_autoptr(GByteArray) input = g_byte_array_new();
    gsize edits = 1 + below(random, EDITS_MAX);
    gsize size;
    gconstpointer data = g_bytes_get_data(origin, &size);

    g_byte_array_append(input, data, (guint)MIN(size, INPUT_MAX));
    for (gsize i = 0; i < edits; i++) {
        mutate(input, corpus, random);
    }
    run(input->data, input->len);
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) corpus =
        g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    g_autoptr(GRand) random = g_rand_new_with_seed(SEED);

    for (int i = 1; i < argc; i++) {
        add_files(corpus, argv[i]);
    }
    g_assert_cmpuint(corpus->len, >, 0);
    for (guint i = 0; i < corpus->len; i++) {
        gsize size;
        gconstpointer data = g_bytes_get_data(corpus->pdata[i], &size);

        run(data, size);
    }
    for (guint i = 0; i < MUTATIONS; i++) {
        run_mutation(corpus, random);
    }
    g_print("%u files, %d mutations\n", corpus->len, MUTATIONS);
    return 0;
}
