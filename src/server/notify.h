/*
 * notify.h - telling systemd (Type=notify) how far we are
 */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

/** notify_manager() - "READY=1", "STOPPING=1"...; nothing happens without NOTIFY_SOCKET */
void notify_manager(const char *state);

#endif
