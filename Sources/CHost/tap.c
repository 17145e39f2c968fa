#include "CHost.h"

int host_tap_attach(int fd, const struct host_tap *tap) {
    struct ifreq request = {.ifr_flags = tap->flags};
    memcpy(request.ifr_name, tap->name, sizeof request.ifr_name);
    return ioctl(fd, TUNSETIFF, &request);
}

int host_tap_describe(int fd, struct host_tap *tap) {
    struct ifreq request = {0};
    if (ioctl(fd, TUNGETIFF, &request) == -1) {
        return -1;
    }
    memcpy(tap->name, request.ifr_name, sizeof tap->name);
    tap->name[sizeof tap->name - 1] = 0;
    tap->flags = request.ifr_flags;
    return 0;
}

int host_tap_set_queue(int fd, short flags) {
    struct ifreq request = {.ifr_flags = flags};
    return ioctl(fd, TUNSETQUEUE, &request);
}

int host_interface_mtu(const char *name) {
    // Any kind of socket answers; this one a filter of system calls lets through.
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return -1;
    }
    struct ifreq request = {0};
    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    int mtu = ioctl(fd, SIOCGIFMTU, &request) == 0 ? request.ifr_mtu : -1;
    close(fd);
    return mtu;
}
