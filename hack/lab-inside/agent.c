// The lab's agent: prepares the machine, runs the command, and carries its input and output to and from hack/lab.
//
// It is the machine's first process and a static program, because the emulated processor is slow and everything from
// the host's file system takes a while. It speaks with hack/lab over a virtio serial port, in frames: one letter, four
// bytes of length (big-endian), content.
//   from hack/lab   S the order (see `struct order`)    I the command's input, none at its end    W its window's size
//   from here       O output    E errors    B a heartbeat    N a note    R the command starts    X its exit status
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <net/if.h>
#include <unistd.h>

enum { HEADER = 5, MOST = 32 << 10, NOT_FOUND = 127, NOT_RUN = 126 };

static int port = -1;

// One write is one buffer of the device, so frames of several processes never mix.
static void send_frame(char kind, const void *content, size_t length) {
    char frame[MOST];
    frame[0] = kind;
    for (int i = 0; i < 4; i++) frame[1 + i] = (char)(length >> (24 - 8 * i));
    memcpy(frame + HEADER, content, length);
    while (write(port, frame, HEADER + length) < 0 && errno == EINTR) {}
}

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...) {
    char text[1024];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    send_frame('N', text, length < (int)sizeof text ? (size_t)length : sizeof text - 1);
}

// The console is all there is before the port is open.
static void give_up(const char *what) {
    printf("lab: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void open_port(void) {
    char path[300];
    for (int tries = 0; tries < 500; tries++, usleep(20000)) {
        DIR *ports = opendir("/sys/class/virtio-ports");
        for (struct dirent *one; ports && (one = readdir(ports));) {
            if (one->d_name[0] == '.') continue;
            snprintf(path, sizeof path, "/dev/%s", one->d_name);
            port = open(path, O_RDWR | O_CLOEXEC);
        }
        if (ports) closedir(ports);
        if (port >= 0) return;
    }
    give_up("no port to the host");
}

// What arrived and is not yet used.
static char *inbox;
static size_t inbox_used, inbox_size;

// Reads once from the port.
static void receive(void) {
    if (inbox_size - inbox_used < MOST && !(inbox = realloc(inbox, inbox_size += 4 * MOST))) give_up("memory");
    ssize_t count = read(port, inbox + inbox_used, MOST);
    if (count > 0) inbox_used += (size_t)count;
}

// The length of the first frame's content, or -1 while that has not arrived whole.
static ssize_t first_frame(void) {
    if (inbox_used < HEADER) return -1;
    size_t length = 0;
    for (int i = 0; i < 4; i++) length = length << 8 | (uint8_t)inbox[1 + i];
    return inbox_used >= HEADER + length ? (ssize_t)length : -1;
}

static void drop_frame(size_t length) {
    inbox_used -= HEADER + length;
    memmove(inbox, inbox + HEADER + length, inbox_used);
}

// What to run: strings, one after the other.
struct order {
    const char *directory, *modules;
    int beat;
    bool terminal;
    char **keep, **arguments, **environment;
};

// A list of strings: a count, then as many strings.
static char **take_list(char **next, char *end) {
    int count = atoi(*next);
    char **list = calloc((size_t)count + 1, sizeof *list);
    if (!list) give_up("memory");
    *next += strlen(*next) + 1;
    for (int i = 0; i < count && *next < end; i++, *next += strlen(*next) + 1) list[i] = *next;
    return list;
}

static struct order take_order(void) {
    ssize_t length;
    while ((length = first_frame()) < 0) receive();
    char *text = malloc((size_t)length + 1);
    if (!text) give_up("memory");
    memcpy(text, inbox + HEADER, (size_t)length);
    text[length] = 0;
    drop_frame((size_t)length);
    char *next = text, *end = text + length + 1;
    char **head = take_list(&next, end);
    return (struct order){
        .directory = head[0],
        .modules = head[1],
        .beat = atoi(head[2]),
        .terminal = head[3][0] == '1',
        .keep = take_list(&next, end),
        .arguments = take_list(&next, end),
        .environment = take_list(&next, end),
    };
}

// Says again and again that this machine goes on: its processor, its timer and its files.
static void start_heartbeat(int seconds) {
    if (fork() != 0) return;
    setpriority(PRIO_PROCESS, 0, -15);
    int host = open("/host", O_PATH);
    for (struct statvfs files;; sleep((unsigned)seconds)) {
        fstatvfs(host, &files);
        send_frame('B', "", 0);
    }
}

static void make_directory(const char *path) {
    char part[4096];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = part; (slash = strchr(slash + 1, '/')); *slash = '/') {
        *slash = 0;
        mkdir(part, 0755);
    }
    mkdir(part, 0755);
}

static void mount_at(const char *source, const char *place, const char *type, unsigned long flags, const char *data) {
    make_directory(place);
    if (mount(source, place, type, flags, data) != 0) note("cannot mount %s on %s: %s", source, place, strerror(errno));
}

// Makes the file system in /root a complete one, and the root of this process.
static void enter_root(const struct order *order) {
    char source[4096], place[4096];
    struct utsname machine;
    uname(&machine);
    for (char **keep = order->keep; *keep; keep++) {
        snprintf(source, sizeof source, "/host%s", *keep);
        snprintf(place, sizeof place, "/root%s", *keep);
        mount_at(source, place, NULL, MS_BIND | MS_REC, NULL);
    }
    snprintf(source, sizeof source, "/root%s/%s", order->modules, machine.release);
    snprintf(place, sizeof place, "/root/lib/modules/%s", machine.release);
    mount_at(source, place, NULL, MS_BIND, NULL);
    mount_at("proc", "/root/proc", "proc", 0, NULL);
    mount_at("sys", "/root/sys", "sysfs", 0, NULL);
    mount_at("dev", "/root/dev", "devtmpfs", 0, NULL);
    mount_at("run", "/root/run", "tmpfs", 0, NULL);
    mount_at("pts", "/root/dev/pts", "devpts", 0, "ptmxmode=666,gid=5,mode=620");
    mount_at("shm", "/root/dev/shm", "tmpfs", 0, NULL);
    mount_at("huge", "/root/dev/hugepages", "hugetlbfs", 0, NULL);
    mount_at("/dev/vda", "/root/scratch", "ext4", 0, NULL);
    mount("cgroup", "/root/sys/fs/cgroup", "cgroup2", 0, NULL);
    mount("debug", "/root/sys/kernel/debug", "debugfs", 0, NULL);
    make_directory("/root/run/lock");
    symlink("/proc/self/fd", "/root/dev/fd");
    symlink("/proc/self/fd/0", "/root/dev/stdin");
    symlink("/proc/self/fd/1", "/root/dev/stdout");
    symlink("/proc/self/fd/2", "/root/dev/stderr");

    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int network = socket(AF_INET, SOCK_DGRAM, 0);
    ioctl(network, SIOCSIFFLAGS, &loopback);
    close(network);
    sethostname("lab", 3);
    while (access("/state/modules", F_OK) != 0) usleep(10000);
    // Moved, and not only entered: in a mere chroot no command could make user namespaces.
    if (chdir("/root") != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0) give_up("new root");
}

// The command while it runs. `input`, `output` and `errors` are our ends, -1 when closed.
struct command {
    pid_t process;
    int input, output, errors;
    bool terminal;
};

static void become_command(const struct order *order, const int ends[3]) {
    setsid();
    for (int i = 0; i < 3; i++) dup2(ends[i], i);
    if (order->terminal) ioctl(0, TIOCSCTTY, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (chdir(order->directory) == 0) {
        environ = order->environment;
        execvp(order->arguments[0], order->arguments);
    }
    dprintf(2, "lab: %s: %s\n", order->arguments[0], strerror(errno));
    _exit(errno == ENOENT ? NOT_FOUND : NOT_RUN);
}

static struct command start(const struct order *order) {
    int in[2], out[2], err[2], master, slave;
    struct command command = {.terminal = order->terminal};
    int ends[3];
    if (order->terminal) {
        if (openpty(&master, &slave, NULL, NULL, NULL) != 0) give_up("terminal");
        fcntl(master, F_SETFD, FD_CLOEXEC);
        command.input = command.output = master;
        command.errors = -1;
        ends[0] = ends[1] = ends[2] = slave;
    } else {
        if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) give_up("pipes");
        command.input = in[1], command.output = out[0], command.errors = err[0];
        ends[0] = in[0], ends[1] = out[1], ends[2] = err[1];
    }
    command.process = fork();
    if (command.process == 0) become_command(order, ends);
    for (int i = 0; i < (order->terminal ? 1 : 3); i++) close(ends[i]);
    fcntl(command.input, F_SETFL, O_NONBLOCK);
    return command;
}

// Passes on what `*from` has; closes it at its end. False when there was nothing.
static bool pass_on(int *from, char kind) {
    char data[MOST - HEADER];
    ssize_t count = read(*from, data, sizeof data);
    if (count > 0) send_frame(kind, data, (size_t)count);
    else if (count == 0 || (errno != EAGAIN && errno != EINTR)) *from = -1;
    return count > 0;
}

// Hands the frames in the inbox to the command, as far as it takes them.
static void deliver(struct command *command) {
    for (ssize_t length; (length = first_frame()) >= 0;) {
        char *content = inbox + HEADER;
        if (inbox[0] == 'W' && command->terminal) {
            ioctl(command->input, TIOCSWINSZ, content);
        } else if (inbox[0] == 'I' && length == 0) {
            if (!command->terminal && command->input >= 0) close(command->input);
            command->input = -1;
        } else if (inbox[0] == 'I' && command->input >= 0) {
            ssize_t count = write(command->input, content, (size_t)length);
            if (count < 0 && errno == EAGAIN) return;
            if (count >= 0 && count < length) {
                // The rest stays, as a frame of its own.
                size_t rest = (size_t)(length - count);
                memmove(content, content + count, inbox_used - HEADER - (size_t)count);
                inbox_used -= (size_t)count;
                for (int i = 0; i < 4; i++) inbox[1 + i] = (char)(rest >> (24 - 8 * i));
                return;
            }
        }
        drop_frame((size_t)length);
    }
}

// Runs the command to its end; its exit status as a shell tells it.
static int run(struct command command, int children) {
    int status = -1;
    while (status < 0) {
        bool held = first_frame() >= 0;
        struct pollfd all[] = {
            {.fd = children, .events = POLLIN},
            {.fd = command.output, .events = POLLIN},
            {.fd = command.errors, .events = POLLIN},
            {.fd = held ? -1 : port, .events = POLLIN},
            {.fd = held ? command.input : -1, .events = POLLOUT},
        };
        if (poll(all, sizeof all / sizeof *all, -1) < 0) continue;
        if (all[1].revents) pass_on(&command.output, 'O');
        if (all[2].revents) pass_on(&command.errors, 'E');
        if (all[3].revents) receive();
        if (all[3].revents || all[4].revents) deliver(&command);
        if (all[0].revents) {
            struct signalfd_siginfo info;
            read(children, &info, sizeof info);
            // As the first process, it also buries those whose parents are gone.
            int how;
            for (pid_t ended; (ended = waitpid(-1, &how, WNOHANG)) > 0;)
                if (ended == command.process) status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
        }
    }
    // What the command wrote is in the pipes by now; others that still hold them are not waited for.
    if (command.output >= 0) fcntl(command.output, F_SETFL, O_NONBLOCK);
    if (command.errors >= 0) fcntl(command.errors, F_SETFL, O_NONBLOCK);
    while (command.output >= 0 && pass_on(&command.output, 'O')) {}
    while (command.errors >= 0 && pass_on(&command.errors, 'E')) {}
    return status;
}

int main(void) {
    open_port();
    send_frame('B', "", 0);
    struct order order = take_order();
    start_heartbeat(order.beat);
    enter_root(&order);

    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    int children = signalfd(-1, &child, SFD_CLOEXEC);
    char text[64] = "";
    FILE *uptime = fopen("/proc/uptime", "re");
    if (uptime) {
        if (fscanf(uptime, "%60s", text) != 1) text[0] = 0;
        fclose(uptime);
    }
    send_frame('R', text, strlen(text));
    int status = run(start(&order), children);
    sync();
    send_frame('X', text, (size_t)snprintf(text, sizeof text, "%d", status));
    // hack/lab ends the machine now.
    for (;;) pause();
}
