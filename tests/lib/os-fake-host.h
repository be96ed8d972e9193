/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "os-fake.h"

/* The real kernel, under the names that os-real.h gives it. */
#define HM_FAKE_REAL(CONSTANT, name) \
    extern __typeof__(hm_os_##name) hm_real_##name;
HM_FAKE_PRIMITIVES(HM_FAKE_REAL)
#undef HM_FAKE_REAL

/*
 * The pretended host: each answers as the primitive of its name, by itself
 * where something is pretended, else from the real kernel.  One lock inside.
 */
void hm_fake_host_reset(void);
int hm_fake_host_bind(void *addr, gsize length, int mode, const HmIdset *nodes,
                      unsigned flags);
int hm_fake_host_page_nodes(void *const *pages, gsize n, int *nodes);
int hm_fake_host_get_affinity(pid_t tid, HmIdset *cpus);
int hm_fake_host_set_affinity(pid_t tid, const HmIdset *cpus);
int hm_fake_host_statfs(int fd, struct statfs *fs);
int hm_fake_host_get_limit(int resource, guint64 *limit);
gint64 hm_fake_host_now(void);
void hm_fake_faults_reset(void); /* os-fake-faults.c */
int hm_fake_host_read_text(const char *path, char **textp);
int hm_fake_host_list_dir(const char *path, GStrv *namesp);

/** Whether a call ends here, with *@result, before it meets the real kernel. */
gboolean hm_fake_meet(const HmFakeRecord *record, gint64 *result);

#define MEET_PATH(CALL, name, address, bytes, file, at, argument) \
    do {                                                          \
        HmFakeRecord record_ = {.call = HM_FAKE_##CALL,           \
                                .path = g_intern_string(name),    \
                                .addr = (void *)(address),        \
                                .length = (bytes),                \
                                .fd = (file),                     \
                                .offset = (at),                   \
                                .arg = (argument)};               \
        gint64 result_;                                           \
                                                                  \
        if (hm_fake_meet(&record_, &result_)) {                   \
            return result_;                                       \
        }                                                         \
    } while (0)

#define MEET(CALL, address, bytes, file, at, argument) \
    MEET_PATH(CALL, NULL, address, bytes, file, at, argument)
