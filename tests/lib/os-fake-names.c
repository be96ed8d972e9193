/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fake's side of util/os-names.c. */
#include "os-fake-host.h"

int hm_os_open_at(int dir_fd, const char *name, int flags, mode_t mode)
{
    MEET_PATH(OPEN_AT, name, NULL, 0, dir_fd, 0, flags);
    return hm_real_open_at(dir_fd, name, flags, mode);
}

int hm_os_unlink_at(int dir_fd, const char *name)
{
    MEET_PATH(UNLINK_AT, name, NULL, 0, dir_fd, 0, 0);
    return hm_real_unlink_at(dir_fd, name);
}

int hm_os_link(int fd, int dir_fd, const char *name)
{
    MEET_PATH(LINK, name, NULL, 0, fd, 0, dir_fd);
    return hm_real_link(fd, dir_fd, name);
}

int hm_os_chown(int fd, uid_t uid, gid_t gid)
{
    MEET(CHOWN, NULL, 0, fd, 0, uid);
    return hm_real_chown(fd, uid, gid);
}

int hm_os_flock(int fd)
{
    MEET(FLOCK, NULL, 0, fd, 0, 0);
    return hm_real_flock(fd);
}

int hm_os_only_user(int fd)
{
    MEET(ONLY_USER, NULL, 0, fd, 0, 0);
    return hm_real_only_user(fd);
}

int hm_os_tmpfs(const HmTmpfsOptions *options)
{
    MEET(TMPFS, NULL, options->size, -1, 0, options->mode);
    return hm_real_tmpfs(options);
}

int hm_os_attach(int mount_fd, int dir_fd)
{
    MEET(ATTACH, NULL, 0, mount_fd, 0, dir_fd);
    return hm_real_attach(mount_fd, dir_fd);
}

int hm_os_detach(int root_fd)
{
    MEET(DETACH, NULL, 0, root_fd, 0, 0);
    return hm_real_detach(root_fd);
}
