/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The files behind util/os.h are compiled once more with this in front of them,
 * so that the fake can hand a call on to the real kernel.  A new primitive gets
 * a line here, a row in os-fake.h and its body in os-fake.c.
 */
#define hm_os_map                hm_real_map
#define hm_os_unmap              hm_real_unmap
#define hm_os_move               hm_real_move
#define hm_os_advise             hm_real_advise
#define hm_os_advise_vector      hm_real_advise_vector
#define hm_os_bind               hm_real_bind
#define hm_os_page_nodes         hm_real_page_nodes
#define hm_os_populated          hm_real_populated
#define hm_os_populated_ranges   hm_real_populated_ranges
#define hm_os_huge               hm_real_huge
#define hm_os_huge_ranges        hm_real_huge_ranges
#define hm_os_resident_ranges    hm_real_resident_ranges
#define hm_os_kept_ranges        hm_real_kept_ranges
#define hm_os_count_pages        hm_real_count_pages
#define hm_os_mlock              hm_real_mlock
#define hm_os_munlock            hm_real_munlock
#define hm_os_is_mlocked         hm_real_is_mlocked
#define hm_os_faultfd_features   hm_real_faultfd_features
#define hm_os_faultfd            hm_real_faultfd
#define hm_os_faultfd_register   hm_real_faultfd_register
#define hm_os_faultfd_unregister hm_real_faultfd_unregister
#define hm_os_write_protect      hm_real_write_protect
#define hm_os_faultfd_read       hm_real_faultfd_read
#define hm_os_fault_mark         hm_real_fault_mark
#define hm_os_mark_at            hm_real_mark_at
#define hm_os_open               hm_real_open
#define hm_os_reopen             hm_real_reopen
#define hm_os_close              hm_real_close
#define hm_os_unlink             hm_real_unlink
#define hm_os_memfd              hm_real_memfd
#define hm_os_shm                hm_real_shm
#define hm_os_tmpfs              hm_real_tmpfs
#define hm_os_tmpfile            hm_real_tmpfile
#define hm_os_stat               hm_real_stat
#define hm_os_statfs             hm_real_statfs
#define hm_os_is_dax             hm_real_is_dax
#define hm_os_truncate           hm_real_truncate
#define hm_os_allocate           hm_real_allocate
#define hm_os_punch              hm_real_punch
#define hm_os_seek               hm_real_seek
#define hm_os_add_seals          hm_real_add_seals
#define hm_os_get_seals          hm_real_get_seals
#define hm_os_get_mode           hm_real_get_mode
#define hm_os_dup                hm_real_dup
#define hm_os_write              hm_real_write
#define hm_os_write_at           hm_real_write_at
#define hm_os_sync               hm_real_sync
#define hm_os_read_at            hm_real_read_at
#define hm_os_lock               hm_real_lock
#define hm_os_chmod              hm_real_chmod
#define hm_os_chown              hm_real_chown
#define hm_os_flock              hm_real_flock
#define hm_os_only_user          hm_real_only_user
#define hm_os_open_at            hm_real_open_at
#define hm_os_unlink_at          hm_real_unlink_at
#define hm_os_link               hm_real_link
#define hm_os_attach             hm_real_attach
#define hm_os_detach             hm_real_detach
#define hm_os_get_affinity       hm_real_get_affinity
#define hm_os_set_affinity       hm_real_set_affinity
#define hm_os_thread_id          hm_real_thread_id
#define hm_os_lower_priority     hm_real_lower_priority
#define hm_os_page_size          hm_real_page_size
#define hm_os_now                hm_real_now
#define hm_os_thread_time        hm_real_thread_time
#define hm_os_get_limit          hm_real_get_limit
#define hm_os_read_text          hm_real_read_text
#define hm_os_list_dir           hm_real_list_dir
