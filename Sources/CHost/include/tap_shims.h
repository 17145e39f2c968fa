/// Tap interfaces: what `linux/if_tun.h` has as macros, and calls whose structures Swift sees as unions.
#ifndef CHOST_TAP_SHIMS_H
#define CHOST_TAP_SHIMS_H

static const unsigned long HOST_TUNSETIFF = TUNSETIFF;
static const unsigned long HOST_TUNGETIFF = TUNGETIFF;
static const unsigned long HOST_SIOCGIFMTU = SIOCGIFMTU;
static const unsigned long HOST_TUNSETOFFLOAD = TUNSETOFFLOAD;
static const unsigned long HOST_TUNSETQUEUE = TUNSETQUEUE;
static const unsigned long HOST_TUNSETVNETHDRSZ = TUNSETVNETHDRSZ;

static const short HOST_IFF_TAP = IFF_TAP;
static const short HOST_IFF_NO_PI = IFF_NO_PI;
static const short HOST_IFF_VNET_HDR = IFF_VNET_HDR;
static const short HOST_IFF_MULTI_QUEUE = IFF_MULTI_QUEUE;
static const short HOST_IFF_ATTACH_QUEUE = IFF_ATTACH_QUEUE;
static const short HOST_IFF_DETACH_QUEUE = IFF_DETACH_QUEUE;

// Younger than some systems' headers.
static const uint32_t HOST_TUN_F_USO4 = 0x20;
static const uint32_t HOST_TUN_F_USO6 = 0x40;

/// An interface's name and its flags (`IFF_*` of `linux/if_tun.h`).
struct host_tap {
    char name[IFNAMSIZ];
    short flags;
};

/// Attaches `fd`, which is open on `/dev/net/tun`, to an interface, which is made if there is none of the name.
int host_tap_attach(int fd, const struct host_tap *tap);
/// Tells which interface `fd` is attached to.
int host_tap_describe(int fd, struct host_tap *tap);
/// Attaches a queue of a multi-queue interface, or detaches it.
int host_tap_set_queue(int fd, short flags);
/// The MTU of the interface of this name in this network namespace; -1 where it cannot be told.
int host_interface_mtu(const char *name);

#endif
