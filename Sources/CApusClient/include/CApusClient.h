/// What the client library asks of the kernel and Swift cannot import by itself. No logic lives here, and nothing but
/// libc is needed: a shim that links the library has no use for the ring's and the filters' libraries.
#ifndef CAPUSCLIENT_H
#define CAPUSCLIENT_H

#include <stdint.h>
#include <sys/types.h>

/// Starts a program, found by PATH unless its name has a slash, with just these descriptors: in the place `i` the
/// caller's `descriptors[i]`, or none where that is negative. All of them must be `count` or above. Signals are as
/// programs expect them at their start. Answers 0 or an errno.
int client_spawn(
    pid_t *child, const char *program, char *const arguments[], char *const environment[], const int *descriptors,
    int count);

/// A descriptor that is readable when the process has ended, or -1.
int client_watch_process(pid_t process);

/// The exit status of a wait status, or -1 if a signal ended the process.
int client_exit_status(int status);
/// The signal that ended the process, or 0.
int client_ending_signal(int status);

/// A socket that never blocks, connected to that address or about to be: it is writable then. Or -1.
int client_connect_unix(const char *path);
int client_connect_vsock(uint32_t cid, uint32_t port);

/// What came of a connection that was begun: 0 or an errno.
int client_connection_error(int socket);

/// Sends bytes, and with the first of them a descriptor unless that is negative.
ssize_t client_send(int socket, const void *bytes, size_t count, int descriptor);

/// A copy of a descriptor, numbered `lowest` or above and closed on exec.
int client_duplicate(int descriptor, int lowest);

/// The text of an errno, or NULL if there is no such.
const char *client_error_text(int number);

/// The caller's environment.
char *const *client_environment(void);

#endif
