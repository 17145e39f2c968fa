#define _GNU_SOURCE
#include "CApusClient.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

int client_spawn(
    pid_t *child, const char *program, char *const arguments[], char *const environment[], const int *descriptors,
    int count) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int failure = 0;
    for (int place = 0; place < count && !failure; place++) {
        failure = descriptors[place] < 0
            ? posix_spawn_file_actions_addclose(&actions, place)
            : posix_spawn_file_actions_adddup2(&actions, descriptors[place], place);
    }
    if (!failure) failure = posix_spawn_file_actions_addclosefrom_np(&actions, count);
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (!failure) failure = posix_spawnp(child, program, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failure;
}

int client_watch_process(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

int client_exit_status(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
int client_ending_signal(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }

static int begin(int family, const struct sockaddr *address, socklen_t length) {
    int made = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) return -1;
    if (connect(made, address, length) == 0 || errno == EINPROGRESS) return made;
    int failure = errno;
    close(made);
    errno = failure;
    return -1;
}

int client_connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) {
        errno = length == 0 ? ENOENT : ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, length);
    return begin(AF_UNIX, (const struct sockaddr *)&address, sizeof address);
}

int client_connect_vsock(uint32_t cid, uint32_t port) {
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
    return begin(AF_VSOCK, (const struct sockaddr *)&address, sizeof address);
}

int client_connection_error(int socket) {
    int failure = 0;
    socklen_t length = sizeof failure;
    return getsockopt(socket, SOL_SOCKET, SO_ERROR, &failure, &length) == 0 ? failure : errno;
}

ssize_t client_send(int socket, const void *bytes, size_t count, int descriptor) {
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } control = {0};
    if (descriptor >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(part), &descriptor, sizeof descriptor);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

int client_duplicate(int descriptor, int lowest) { return fcntl(descriptor, F_DUPFD_CLOEXEC, lowest); }

const char *client_error_text(int number) { return strerrordesc_np(number); }

char *const *client_environment(void) { return environ; }
