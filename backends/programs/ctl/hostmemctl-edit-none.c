/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemctl.h"

/* Built without libedit: lines are read as they come. */

CtlEdit *ctl_edit_new(G_GNUC_UNUSED CtlPeer *peer,
                      G_GNUC_UNUSED CtlCompleteFunc complete,
                      G_GNUC_UNUSED gpointer user_data)
{
    return NULL;
}

void ctl_edit_free(G_GNUC_UNUSED CtlEdit *self)
{
}

char *ctl_edit_read(G_GNUC_UNUSED CtlEdit *self,
                    G_GNUC_UNUSED const char *prompt,
                    G_GNUC_UNUSED GError **error)
{
    g_return_val_if_reached(NULL);
}

void ctl_edit_hide(G_GNUC_UNUSED CtlEdit *self)
{
}

void ctl_edit_show(G_GNUC_UNUSED CtlEdit *self)
{
}
