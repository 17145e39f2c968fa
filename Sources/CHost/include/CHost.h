/// The kernel's and libc's surface that Swift cannot import by itself: headers, and macros and variadic calls
/// turned into plain functions and constants. No logic lives here.
#ifndef CHOST_H
#define CHOST_H

// First of all: liburing.h asks libc for another set of features, which would make its structures differ from those
// that Swift's own view of libc has.
#include <features.h>

// Before liburing.h, which otherwise declares its own copy of the kernel's structures.
#include <linux/io_uring.h>
#include <liburing.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "confinement_shims.h"
#include "kvm_shims.h"
#include "memory_shims.h"
#include "message_shims.h"
#include "ring_shims.h"
#include "seccomp_shims.h"
#include "system_shims.h"
#include "tap_shims.h"
#include "vhost_shims.h"

#endif
